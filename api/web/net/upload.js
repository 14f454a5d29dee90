// Handing one scan in, with its progress: fetch cannot tell how much was sent, XMLHttpRequest can.

import { Problem, readProblem, UNREACHED } from "./api.js";
import { connection } from "./connection.js";

/** A key that makes it safe to send the same scan again after a lost answer. */
export function newKey() {
  // randomUUID is missing where the page comes over plain HTTP from another machine
  const random = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(random, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * Sends `files`, a File for each field, and returns `{ job, abort }`: a promise of the job, which
 * is rejected with a `Problem` or, once aborted, an AbortError. `onShare` hears 0 to 1.
 */
export function send({ files, model, priority, key }, onShare) {
  const request = new XMLHttpRequest();
  const job = new Promise((resolve, reject) => {
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) onShare(event.loaded / event.total);
    });
    request.addEventListener("load", () => {
      connection.note(true);
      if (request.status === 202 || request.status === 200) {
        resolve(JSON.parse(request.responseText));
      } else {
        reject(readProblem(request.status, request.responseText));
      }
    });
    request.addEventListener("error", () => {
      connection.note(false);
      reject(new Problem(UNREACHED));
    });
    request.addEventListener("abort", () => reject(new DOMException("aborted", "AbortError")));
  });
  const query = new URLSearchParams({ model, priority });
  request.open("POST", `/jobs?${query}`);
  request.setRequestHeader("Idempotency-Key", key);
  const form = new FormData();
  for (const [field, file] of Object.entries(files)) form.append(field, file);
  request.send(form);
  return { job, abort: () => request.abort() };
}
