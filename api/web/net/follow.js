// Following one job to its end: by events, or where they do not come through, by long polling.

import { getJob } from "./api.js";

const POLL_WAIT_S = 20;
/** So many breaks without a message between them, and events are given up. */
const MOST_BREAKS = 3;
const PAUSE_MS = 2000;

const TERMINAL = new Set(["finished", "failed", "canceled"]);

/** Whether a job can no longer change. */
export function isTerminal(job) {
  return TERMINAL.has(job.status);
}

/**
 * Calls `onJob` at every change of the job until it is terminal, and `onGone` if it is no more.
 * Returns a function that stops it.
 */
export function follow(id, onJob, onGone) {
  const stopping = new AbortController();
  const source = new EventSource(`/jobs/${encodeURIComponent(id)}/events`);
  let breaks = 0;
  source.addEventListener("job", (event) => {
    breaks = 0;
    const job = JSON.parse(event.data);
    // a server that ends its stream would be asked again by the browser
    if (isTerminal(job)) source.close();
    onJob(job);
  });
  source.addEventListener("error", () => {
    breaks += 1;
    if (source.readyState !== EventSource.CLOSED && breaks < MOST_BREAKS) return;
    source.close();
    poll(id, onJob, onGone, stopping.signal);
  });
  stopping.signal.addEventListener("abort", () => source.close());
  return () => stopping.abort();
}

async function poll(id, onJob, onGone, signal) {
  while (!signal.aborted) {
    try {
      const job = await getJob(id, { wait: POLL_WAIT_S, signal });
      if (signal.aborted) return;
      onJob(job);
      if (isTerminal(job)) return;
    } catch (error) {
      if (error.name === "AbortError") return;
      if (error.status === 404) {
        onGone();
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }
}
