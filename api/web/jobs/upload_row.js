// One row of the list: a scan whose upload has not ended yet.

import { h, setText } from "../ui/dom.js";
import { bytes, percent } from "../ui/format.js";
import { icon } from "../ui/icons.js";

/** An upload that waits, is being sent, or was refused; `uploads` has sendAgain and drop. */
export class UploadRow {
  constructor(upload, uploads) {
    this.upload = upload;
    this.status = h("span", { class: "status" });
    this.line = h("span", { class: "job-line" });
    this.bar = h("progress", { max: "1", "aria-label": `Upload of ${upload.name}` });
    const labelled = (action) => ({
      class: "icon-button",
      type: "button",
      title: action,
      "aria-label": `${action}: ${upload.name}`,
    });
    this.sendAgainButton = h("button", labelled("Send again"), icon("again"));
    this.sendAgainButton.addEventListener("click", () => uploads.sendAgain(upload));
    this.dropButton = h("button", labelled("Remove"), icon("cross"));
    this.dropButton.addEventListener("click", () => uploads.drop(upload));
    this.element = h(
      "li",
      { class: "job" },
      h(
        "div",
        { class: "job-link" },
        h(
          "span",
          { class: "job-first" },
          h("span", { class: "job-name", title: upload.name }, upload.name),
          this.status,
        ),
        this.line,
      ),
      this.sendAgainButton,
      this.dropButton,
      this.bar,
    );
  }

  update() {
    const { status, sent, size, problem } = this.upload;
    const refused = status === "refused";
    const ended = problem?.status === 0 ? "Not sent" : "Refused";
    setText(this.status, refused ? ended : status === "waiting" ? "Waiting" : "Uploading");
    this.status.dataset.status = refused ? "failed" : "queued";
    setText(
      this.line,
      refused
        ? problem.status === 0 ? problem.title : (problem.detail ?? problem.title)
        : status === "sending" && sent === 1
          ? "Sent; the service is checking it"
          : `${percent(sent)} of ${bytes(size)}`,
    );
    if (refused) this.line.setAttribute("role", "alert");
    else this.line.removeAttribute("role");
    this.element.classList.toggle("refused", refused);
    this.bar.hidden = refused;
    this.bar.value = sent;
    this.sendAgainButton.hidden = !refused;
  }
}
