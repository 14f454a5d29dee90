// Texts about a job: its name, status, stage, place in the queue and result.

import { about, count, millilitres } from "../ui/format.js";

export const STATUS = {
  queued: "Queued",
  started: "Running",
  finished: "Finished",
  failed: "Failed",
  canceled: "Cancelled",
};

export const STAGES = {
  load: "Reading the scan",
  preprocess: "Preparing the scan",
  inference: "Running the network",
  postprocess: "Making the mask",
  store: "Storing the mask",
};

/** One line about a live job: its place and wait, or its stage. */
export function outlookText(job) {
  if (job.status === "started") return STAGES[job.stage] ?? "Running on a worker";
  if (job.position === null || job.position === undefined) return "In the queue";
  const place = job.position === 0 ? "Next in line" : `${count(job.position)} ahead`;
  return job.eta_s === null || job.eta_s === undefined ? place : `${place}, ${about(job.eta_s)}`;
}

/** One line about a finding: present or not, and its volume. */
export function findingText(tumor) {
  return tumor.present ? `Tumour present, ${millilitres(tumor.volume_ml)}` : "No tumour found";
}

/** The name of a job: its file's name where that is known, otherwise the end of its id. */
export function nameOf({ id, name }) {
  return name ?? `Scan ${id.slice(-6)}`;
}
