// The page: its parts, and what passes between them.

import { deleteJob, submitAgain } from "./net/api.js";
import { connection } from "./net/connection.js";
import { byId, say } from "./ui/dom.js";
import { Intake } from "./jobs/intake.js";
import { Ledger } from "./jobs/ledger.js";
import { JobList } from "./jobs/list.js";
import { Result } from "./result/result.js";
import { setUpStrip } from "./jobs/strip.js";
import { setUpTheme } from "./ui/theme.js";
import { Uploads } from "./jobs/uploads.js";
import { Watch } from "./jobs/watch.js";
import { finding, nameOf, STATUS } from "./ui/words.js";

const NOTICE_MS = 8000;

const actions = { select, cancel, again, purge, copyLink };
const ledger = new Ledger();
const uploads = new Uploads();
const result = new Result(actions);
const list = new JobList(ledger, uploads, actions);
const intake = new Intake(uploads);
let selected = null;
let asking = null;

const watch = new Watch(
  ledger,
  () => selected,
  () => list.showsAll,
);

ledger.addEventListener("change", drawSelected);
ledger.addEventListener("ended", ({ detail: entry }) => {
  const outcome =
    entry.job.status === "finished" ? finding(entry.job.result.tumor) : STATUS[entry.job.status];
  announce(`${nameOf(entry)}: ${outcome}`);
});
uploads.addEventListener("accepted", ({ detail: { job, name, show } }) => {
  ledger.remember(job, name);
  announce(`${name} was accepted`);
  // what a person looks at stays on show
  if (show || selected === null) select(job.id);
});
addEventListener("beforeunload", (event) => {
  // what is not sent yet would be lost with the page
  if (uploads.underWay) event.preventDefault();
});
addEventListener("popstate", () => turnTo(idInAddress()));
connection.addEventListener("change", () => {
  if (connection.reached) begin();
});

setUpTheme(byId("theme"));
setUpStrip();
intake.load();
turnTo(idInAddress());
if (selected !== null) bringIntoSight();
begin();

async function begin() {
  try {
    await ledger.refresh();
    list.loaded();
  } catch (problem) {
    list.loaded(problem);
  }
}

function idInAddress() {
  return new URLSearchParams(location.search).get("job");
}

function select(id) {
  if (id !== idInAddress()) history.pushState(null, "", `/?job=${id}`);
  turnTo(id);
  bringIntoSight();
}

/** Where the result lies below the list, scrolls to it. */
function bringIntoSight() {
  if (matchMedia("(max-width: 60rem)").matches) byId("result").scrollIntoView();
}

/** Puts a job on show, and asks for it where the page does not know it yet. */
async function turnTo(id) {
  selected = id;
  list.select(id);
  watch.review();
  if (id !== null && !ledger.get(id)?.job) {
    asking = id;
    drawSelected();
    try {
      await ledger.load(id);
      // somebody sent the link: the job is in no list of ours
      if (ledger.get(id)?.own === false) list.show("all");
    } catch (problem) {
      if (selected === id) result.showProblem(problem);
      return;
    } finally {
      if (asking === id) asking = null;
    }
  }
  drawSelected();
}

function drawSelected() {
  const entry = selected === null ? undefined : ledger.get(selected);
  if (selected === null) result.showNothing();
  else if (entry?.job) result.show(entry);
  else if (asking === selected) result.showLoading();
  else result.showGone();
  document.title = entry?.job ? `${nameOf(entry)} · VoxelQ` : "VoxelQ";
}

async function cancel(entry) {
  await attempt(async () => {
    await deleteJob(entry.id);
    await ledger.load(entry.id);
  });
}

async function again(entry) {
  await attempt(async () => {
    const job = await submitAgain(entry.job);
    ledger.remember(job, entry.name);
    select(job.id);
  });
}

async function purge(entry) {
  await attempt(async () => {
    await deleteJob(entry.id);
    ledger.forget(entry.id);
    history.pushState(null, "", "/");
    turnTo(null);
    announce(`${nameOf(entry)} was deleted`);
  });
}

async function copyLink(entry) {
  try {
    await navigator.clipboard.writeText(`${location.origin}/?job=${entry.id}`);
    return true;
  } catch {
    return false; // refused, or plain HTTP from another machine: the address bar has it
  }
}

/** Does what was asked; where it is refused, the reason is told in the service's words. */
async function attempt(work) {
  try {
    await work();
  } catch (problem) {
    notify(problem.message);
  }
}

let notice = null;

/** Shows a line at the foot of the page for a while. */
function notify(words) {
  const place = byId("notice");
  say(place, words);
  place.hidden = false;
  clearTimeout(notice);
  notice = setTimeout(() => {
    place.hidden = true;
    say(place, "");
  }, NOTICE_MS);
}

function announce(words) {
  say(byId("announcer"), words);
}
