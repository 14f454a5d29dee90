// Numbers and states in words, as a person reads them.

const number = (value, digits) =>
  value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });

/** 0.0042 → "4 ms", 3.21 → "3.2 s", 95 → "1 min 35 s", 7300 → "2 h 2 min". */
export function duration(seconds) {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 9.95) return `${number(seconds, 1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${number(Math.floor(whole / 3600), 0)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** An estimate, told no more exactly than it is known. */
export function about(seconds) {
  if (seconds < 1) return "a moment";
  return `about ${seconds < 60 ? `${Math.round(seconds)} s` : duration(seconds)}`;
}

/** 7700000 → "7.7 MB". */
export function bytes(count) {
  if (count < 1000) return `${count} B`;
  const units = ["kB", "MB", "GB", "TB"];
  let value = count;
  let unit = "";
  while (value >= 1000 && units.length > 0) {
    value /= 1000;
    unit = units.shift();
  }
  return `${number(value, value < 10 ? 1 : 0)} ${unit}`;
}

/** 83.104 → "83.1 ml". */
export function millilitres(volume) {
  return `${number(volume, volume < 10 ? 2 : 1)} ml`;
}

/** 0.973 → "97 %"; never a certainty that is not there. */
export function percent(share) {
  const rounded = Math.round(share * 100);
  if (rounded === 100 && share < 1) return "> 99 %";
  if (rounded === 0 && share > 0) return "< 1 %";
  return `${rounded} %`;
}

/** 12345 → "12,345". */
export function count(value) {
  return number(value, 0);
}

/** 1, "scan" → "1 scan"; 2, "scan" → "2 scans". */
export function plural(value, noun) {
  return `${count(value)} ${noun}${value === 1 ? "" : "s"}`;
}

/** A moment on the wall clock, with the day where it is not today. */
export function moment(iso) {
  const then = new Date(iso);
  const time = then.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  if (then.toDateString() === new Date().toDateString()) return time;
  return `${then.toLocaleDateString("en-GB", { day: "numeric", month: "short" })}, ${time}`;
}

export const STATUS = {
  queued: "Queued",
  started: "Running",
  finished: "Finished",
  failed: "Failed",
  canceled: "Cancelled",
};

export const STAGES = {
  load: "Reading the scan",
  preprocess: "Preparing it",
  inference: "Running the network",
  postprocess: "Outlining",
  store: "Storing the mask",
};

/** The timings' names, as the bar of times shows them. */
export const STAGE_NAMES = {
  queue: "Queue",
  load: "Load",
  preprocess: "Preprocess",
  inference: "Inference",
  postprocess: "Postprocess",
  store: "Store",
};

/** One line about a live job: its place and wait, or its stage. */
export function outlook(job) {
  if (job.status === "started") return STAGES[job.stage] ?? "With a worker";
  if (job.position === null || job.position === undefined) return "In the queue";
  const place = job.position === 0 ? "Next in line" : `${count(job.position)} ahead`;
  return job.eta_s === null || job.eta_s === undefined ? place : `${place}, ${about(job.eta_s)}`;
}

/** What was found, in a line. */
export function finding(tumor) {
  return tumor.present ? `Tumour present, ${millilitres(tumor.volume_ml)}` : "No tumour found";
}

/** What a job is called: by its file where that is known, else by the end of its id. */
export function nameOf({ id, name }) {
  return name ?? `Scan ${id.slice(-6)}`;
}
