// The calls of the service. Refusals come as `Problem`, in the service's own words.

import { connection } from "./connection.js";

/** An RFC 9457 problem that the service answered with. */
export class Problem extends Error {
  constructor({ title, detail, status }) {
    super(detail || title);
    this.title = title;
    this.detail = detail;
    this.status = status;
  }
}

/** The service was not reached at all. */
export const UNREACHED = {
  title: "The service cannot be reached",
  detail: "Check that it runs and that this machine is on its network.",
  status: 0,
};

/** Returns the problem in the text of a refusal, or words for one that is not of the service. */
export function readProblem(status, text) {
  try {
    const problem = JSON.parse(text);
    if (typeof problem.title === "string") return new Problem(problem);
  } catch {
    // something between the page and the service answered
  }
  return new Problem({
    title: "The call failed",
    detail: `The answer was HTTP ${status}, without a reason.`,
    status,
  });
}

/** Calls the service and returns its answer; throws `Problem`, or an AbortError. */
export async function call(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    connection.note(false);
    throw new Problem(UNREACHED);
  }
  connection.note(true);
  if (!answer.ok) throw readProblem(answer.status, await answer.text());
  return answer;
}

async function json(path, options) {
  return (await call(path, options)).json();
}

/** The job; with `wait` seconds the answer is held until it is terminal. */
export function getJob(id, { wait = 0, signal } = {}) {
  return json(`/jobs/${encodeURIComponent(id)}${wait ? `?wait=${wait}` : ""}`, { signal });
}

/** The newest jobs of the service. */
export async function listJobs(limit) {
  return (await json(`/jobs?limit=${limit}`)).jobs;
}

/** The models that are served. */
export async function listModels() {
  return (await json("/models")).models;
}

/** The queue and the workers just now. */
export function getQueue() {
  return json("/queue");
}

/** Cancels a live job; purges a terminal one. */
export async function deleteJob(id) {
  await call(`/jobs/${encodeURIComponent(id)}`, { method: "DELETE" });
}

/** Submits the stored scan of a terminal job once more, and returns the new job. */
export function submitAgain(job) {
  return json("/jobs", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({
      scan_of: job.id,
      model: `${job.model.name}@${job.model.version}`,
      priority: job.priority,
    }),
  });
}

/** The sample scan, as a file to be handed in. */
export async function sampleScan() {
  const blob = await (await call("/sample.nii.gz")).blob();
  return new File([blob], "sample_flair.nii.gz", { type: "application/gzip" });
}

/** A file of the service as bytes; `onShare` hears how much of it has come, from 0 to 1. */
export async function download(path, { signal, onShare = () => {} }) {
  const answer = await call(path, { signal });
  const total = Number(answer.headers.get("Content-Length"));
  const pieces = [];
  let received = 0;
  for (const reader = answer.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    pieces.push(value);
    received += value.length;
    if (total > 0) onShare(received / total);
  }
  return new Blob(pieces).arrayBuffer();
}
