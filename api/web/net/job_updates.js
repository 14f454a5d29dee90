// Updates of one job until it ends: by server-sent events, or by long polling where events fail.

import { getJob } from "./api.js";

const POLL_WAIT_S = 20;
/** Connection errors without a message between them before polling replaces events. */
const MAX_ERRORS = 3;
const RETRY_MS = 2000;

const TERMINAL = new Set(["finished", "failed", "canceled"]);

/** Whether a job has ended: it can no longer change. */
export function isTerminal(job) {
  return TERMINAL.has(job.status);
}

/**
 * Calls `onJob` at every change of the job until it has ended, and `onGone` if the job was deleted.
 * Returns a function that stops the updates.
 */
export function followJob(id, onJob, onGone) {
  const stopping = new AbortController();
  const source = new EventSource(`/jobs/${encodeURIComponent(id)}/events`);
  let errors = 0;
  source.addEventListener("job", (event) => {
    errors = 0;
    const job = JSON.parse(event.data);
    // the browser would connect again after the server has ended the stream
    if (isTerminal(job)) source.close();
    onJob(job);
  });
  source.addEventListener("error", () => {
    errors += 1;
    if (source.readyState !== EventSource.CLOSED && errors < MAX_ERRORS) return;
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
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}
