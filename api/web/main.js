// Creates the parts of the page and connects them.

import { JobList } from "./jobs/job_list.js";
import { findingText, nameOf, STATUS } from "./jobs/job_text.js";
import { KnownJobs } from "./jobs/known_jobs.js";
import { LiveUpdates } from "./jobs/live_updates.js";
import { showQueueStatus } from "./jobs/queue_status.js";
import { SubmitForm } from "./jobs/submit_form.js";
import { UploadQueue } from "./jobs/upload_queue.js";
import { deleteJob, submitAgain } from "./net/api.js";
import { connection } from "./net/connection.js";
import { ResultPanel } from "./result/result_panel.js";
import { byId, setText } from "./ui/dom.js";
import { setUpTheme } from "./ui/theme.js";

const NOTICE_MS = 8000;

const actions = { select, cancel, runAgain, remove, copyLink };
const knownJobs = new KnownJobs();
const uploads = new UploadQueue();
const resultPanel = new ResultPanel(actions);
const jobList = new JobList(knownJobs, uploads, actions);
const submitForm = new SubmitForm(uploads);
let selected = null;
let loading = null;

const liveUpdates = new LiveUpdates(
  knownJobs,
  () => selected,
  () => jobList.showsAll,
);

knownJobs.addEventListener("change", drawSelected);
knownJobs.addEventListener("ended", ({ detail: entry }) => {
  const outcome =
    entry.job.status === "finished" ? findingText(entry.job.result.tumor) : STATUS[entry.job.status];
  announce(`${nameOf(entry)}: ${outcome}`);
});
uploads.addEventListener("accepted", ({ detail: { job, name, show } }) => {
  knownJobs.remember(job, name);
  announce(`${name} was accepted`);
  // keep showing the job that the user has selected
  if (show || selected === null) select(job.id);
});
addEventListener("beforeunload", (event) => {
  // scans that are not sent yet would be lost
  if (uploads.pending) event.preventDefault();
});
addEventListener("popstate", () => showJob(idInAddress()));
connection.addEventListener("change", () => {
  if (connection.reachable) loadJobs();
});

setUpTheme(byId("theme"));
showQueueStatus();
submitForm.load();
showJob(idInAddress());
if (selected !== null) scrollToResult();
loadJobs();

async function loadJobs() {
  try {
    await knownJobs.refresh();
    jobList.loaded();
  } catch (problem) {
    jobList.loaded(problem);
  }
}

function idInAddress() {
  return new URLSearchParams(location.search).get("job");
}

function select(id) {
  if (id !== idInAddress()) history.pushState(null, "", `/?job=${id}`);
  showJob(id);
  scrollToResult();
}

/** Scrolls to the result, if it is below the list. */
function scrollToResult() {
  if (matchMedia("(max-width: 60rem)").matches) byId("result").scrollIntoView();
}

/** Shows a job in the result panel, and loads it if the page does not know it yet. */
async function showJob(id) {
  selected = id;
  jobList.select(id);
  liveUpdates.chooseStreams();
  if (id !== null && !knownJobs.get(id)?.job) {
    loading = id;
    drawSelected();
    try {
      await knownJobs.load(id);
      // a link led here: the list shows this job only among all jobs
      if (knownJobs.get(id)?.own === false) jobList.show("all");
    } catch (problem) {
      if (selected === id) resultPanel.showProblem(problem);
      return;
    } finally {
      if (loading === id) loading = null;
    }
  }
  drawSelected();
}

function drawSelected() {
  const entry = selected === null ? undefined : knownJobs.get(selected);
  if (selected === null) resultPanel.showNothing();
  else if (entry?.job) resultPanel.show(entry);
  else if (loading === selected) resultPanel.showLoading();
  else resultPanel.showGone();
  document.title = entry?.job ? `${nameOf(entry)} · VoxelQ` : "VoxelQ";
}

async function cancel(entry) {
  await attempt(async () => {
    await deleteJob(entry.id);
    await knownJobs.load(entry.id);
  });
}

async function runAgain(entry) {
  await attempt(async () => {
    const job = await submitAgain(entry.job);
    knownJobs.remember(job, entry.name);
    select(job.id);
  });
}

async function remove(entry) {
  await attempt(async () => {
    await deleteJob(entry.id);
    knownJobs.forget(entry.id);
    history.pushState(null, "", "/");
    showJob(null);
    announce(`${nameOf(entry)} was deleted`);
  });
}

async function copyLink(entry) {
  try {
    await navigator.clipboard.writeText(`${location.origin}/?job=${entry.id}`);
    return true;
  } catch {
    return false; // not permitted, or the page came over plain HTTP from another machine
  }
}

/** Runs an action; if the service refuses it, shows the reason. */
async function attempt(action) {
  try {
    await action();
  } catch (problem) {
    notify(problem.message);
  }
}

let noticeTimer = null;

/** Shows a message at the bottom of the page for a few seconds. */
function notify(text) {
  const notice = byId("notice");
  setText(notice, text);
  notice.hidden = false;
  clearTimeout(noticeTimer);
  noticeTimer = setTimeout(() => {
    notice.hidden = true;
    setText(notice, "");
  }, NOTICE_MS);
}

/** Announces a message to screen readers. */
function announce(text) {
  setText(byId("announcer"), text);
}
