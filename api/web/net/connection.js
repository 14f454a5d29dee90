// Whether the service answers, as every call finds out on its way.

class Connection extends EventTarget {
  #reached = true;

  /** Whether the last call was answered, by whatever answer. */
  get reached() {
    return this.#reached;
  }

  /** Notes how a call went; fires `change` where that is news. */
  note(reached) {
    if (reached === this.#reached) return;
    this.#reached = reached;
    this.dispatchEvent(new Event("change"));
  }
}

export const connection = new Connection();
