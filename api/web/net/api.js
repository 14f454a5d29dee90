// The HTTP calls to the service. A refused call throws `Problem` with the service's own message.

import { connection } from "./connection.js";

/** An RFC 9457 problem from the service. */
export class Problem extends Error {
  constructor({ title, detail, status }) {
    super(detail || title);
    this.title = title;
    this.detail = detail;
    this.status = status;
  }
}

/** The service did not answer at all. */
export const UNREACHABLE = {
  title: "The service cannot be reached",
  detail: "Check that it is running and that this computer can reach its network.",
  status: 0,
};

/** Returns the problem in the body of a refused call, or a general one if the body has none. */
export function readProblem(status, text) {
  try {
    const problem = JSON.parse(text);
    if (typeof problem.title === "string") return new Problem(problem);
  } catch {
    // a proxy between the page and the service answered
  }
  return new Problem({
    title: "The call failed",
    detail: `The response was HTTP ${status}, without a reason.`,
    status,
  });
}

/** Calls the service and returns its response; throws `Problem`, or an AbortError. */
export async function call(path, options = {}) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    connection.update(false);
    throw new Problem(UNREACHABLE);
  }
  connection.update(true);
  if (!response.ok) throw readProblem(response.status, await response.text());
  return response;
}

async function json(path, options) {
  return (await call(path, options)).json();
}

/** Returns the job: at once, or once it has ended but after `wait` seconds at the latest. */
export function getJob(id, { wait = 0, signal } = {}) {
  return json(`/jobs/${encodeURIComponent(id)}${wait ? `?wait=${wait}` : ""}`, { signal });
}

/** Returns the newest jobs of the service. */
export async function listJobs(limit) {
  return (await json(`/jobs?limit=${limit}`)).jobs;
}

/** Returns the available models. */
export async function listModels() {
  return (await json("/models")).models;
}

/** Returns the current state of the queue and the workers. */
export function getQueue() {
  return json("/queue");
}

/** Cancels a job that is queued or started; deletes a job that has ended. */
export async function deleteJob(id) {
  await call(`/jobs/${encodeURIComponent(id)}`, { method: "DELETE" });
}

/** Submits the stored scan of a job that has ended again, and returns the new job. */
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

/** Returns the sample scan as a file that can be submitted. */
export async function sampleScan() {
  const blob = await (await call("/sample.nii.gz")).blob();
  return new File([blob], "sample_flair.nii.gz", { type: "application/gzip" });
}

/** Downloads a file of the service; `onProgress` gets the received fraction, from 0 to 1. */
export async function download(path, { signal, onProgress = () => {} }) {
  const response = await call(path, { signal });
  const total = Number(response.headers.get("Content-Length"));
  const chunks = [];
  let received = 0;
  for (const reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    chunks.push(value);
    received += value.length;
    if (total > 0) onProgress(received / total);
  }
  return new Blob(chunks).arrayBuffer();
}
