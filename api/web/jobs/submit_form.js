// The form that submits scans: a model, a priority, and files that are dropped or chosen.

import { listModels, sampleScan } from "../net/api.js";
import { connection } from "../net/connection.js";
import { byId, h, setText } from "../ui/dom.js";
import { matchChannels, scanName } from "./scan_files.js";

/** Adds each submitted scan to `uploads`. */
export class SubmitForm {
  #uploads;
  #models = [];
  #channels = {};
  #earlyFiles = []; // added before the models were loaded

  constructor(uploads) {
    this.#uploads = uploads;
    byId("submit-form").addEventListener("submit", (event) => event.preventDefault());
    byId("model").addEventListener("change", () => this.#showChannels());
    byId("sample").addEventListener("click", () => this.#submitSample());
    const chooser = byId("files");
    chooser.addEventListener("change", () => {
      this.#addFiles([...chooser.files]);
      chooser.value = "";
    });
    this.#listenForDrops();
    connection.addEventListener("change", () => {
      if (connection.reachable && this.#models.length === 0) this.load();
    });
  }

  /** Loads the available models and lists them. */
  async load() {
    const select = byId("model");
    try {
      this.#models = await listModels();
    } catch (problem) {
      select.replaceChildren(h("option", {}, "Could not be loaded"));
      this.#showProblem(problem.message);
      return;
    }
    this.#showProblem(this.#models.length === 0 ? "The service has no model to run." : "");
    const options = this.#models.map((model) => {
      const ref = `${model.name}@${model.version}`;
      return h("option", { value: ref, selected: model.default }, `${model.name} ${model.version}`);
    });
    select.replaceChildren(...options);
    select.disabled = options.length === 0;
    byId("sample").disabled = this.#sampleModel() === undefined;
    this.#showChannels();
    this.#addFiles(this.#earlyFiles.splice(0));
  }

  get #model() {
    return this.#models[byId("model").selectedIndex];
  }

  #sampleModel() {
    const single = this.#models.filter((model) => model.inputs.length === 1);
    return single.find((model) => model.default) ?? single[0];
  }

  #showChannels() {
    const model = this.#model;
    this.#channels = {};
    const several = model !== undefined && model.inputs.length > 1;
    byId("channels").hidden = !several;
    byId("files").disabled = model === undefined;
    setText(
      byId("hint"),
      several
        ? `One file for each of ${model.inputs.map((input) => input.name).join(", ")}`
        : "NIfTI files, .nii or .nii.gz",
    );
    this.#drawChannels();
  }

  #drawChannels() {
    const model = this.#model;
    if (model === undefined || model.inputs.length === 1) {
      byId("channels").replaceChildren();
      return;
    }
    const rows = model.inputs.map(({ name, modality }) => {
      const id = `channel-${name}`;
      const chooser = h("input", {
        id,
        type: "file",
        class: "visually-hidden",
        accept: ".nii,.gz,.nii.gz",
      });
      chooser.addEventListener("change", () => {
        this.#channels[name] = chooser.files[0];
        this.#showProblem("");
        this.#drawChannels();
        byId(id).focus();
      });
      const chosen = this.#channels[name];
      return h(
        "div",
        { class: "channel" },
        chooser,
        h("label", { for: id, class: "button" }, name),
        h("span", { class: chosen ? "file-name" : "hint" }, chosen?.name ?? modality),
      );
    });
    const complete = model.inputs.every(({ name }) => this.#channels[name]);
    const button = h("button", { class: "button primary", type: "button", disabled: !complete });
    button.textContent = "Submit this scan";
    button.addEventListener("click", () => {
      this.#submit(this.#channels);
      this.#channels = {};
      this.#drawChannels();
    });
    byId("channels").replaceChildren(...rows, button);
  }

  #addFiles(files) {
    const model = this.#model;
    if (model === undefined) {
      this.#earlyFiles.push(...files);
      return;
    }
    if (files.length === 0) return;
    if (model.inputs.length === 1) {
      for (const file of files) this.#submit({ [model.inputs[0].name]: file });
      return;
    }
    const matched = matchChannels(files, model.inputs);
    Object.assign(this.#channels, matched);
    const unmatched = files.filter((file) => !Object.values(matched).includes(file));
    this.#showProblem(
      unmatched.length > 0
        ? `No channel was found for ${unmatched.map((file) => file.name).join(", ")}. Choose a file for each channel.`
        : "",
    );
    this.#drawChannels();
  }

  #submit(files, { model = this.#model, show = false } = {}) {
    this.#showProblem("");
    this.#uploads.add({
      name: scanName(files),
      files: { ...files },
      model: `${model.name}@${model.version}`,
      priority: byId("priority").value,
      show,
    });
  }

  async #submitSample() {
    const button = byId("sample");
    button.disabled = true;
    try {
      const model = this.#sampleModel();
      const file = await sampleScan();
      this.#submit({ [model.inputs[0].name]: file }, { model, show: true });
    } catch (problem) {
      this.#showProblem(problem.message);
    } finally {
      button.disabled = false;
    }
  }

  #showProblem(text) {
    const element = byId("submit-problem");
    setText(element, text);
    element.hidden = text === "";
  }

  #listenForDrops() {
    const zone = byId("drop");
    const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
    // The whole page accepts files: the browser would open a file that is dropped beside the zone.
    document.addEventListener("dragover", (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      zone.classList.add("over");
    });
    document.addEventListener("dragleave", (event) => {
      if (event.relatedTarget === null) zone.classList.remove("over");
    });
    document.addEventListener("drop", (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      zone.classList.remove("over");
      this.#addFiles([...event.dataTransfer.files]);
    });
  }
}
