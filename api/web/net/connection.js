// Whether the service can be reached. Every call to it updates this.

class Connection extends EventTarget {
  #reachable = true;

  /** Whether the last call got any response. */
  get reachable() {
    return this.#reachable;
  }

  /** Records whether a call got a response; fires `change` if that differs from the last call. */
  update(reachable) {
    if (reachable === this.#reachable) return;
    this.#reachable = reachable;
    this.dispatchEvent(new Event("change"));
  }
}

export const connection = new Connection();
