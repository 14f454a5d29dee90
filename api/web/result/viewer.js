// NiiVue, set up for this page: one scan with one mask over it, in radiological orientation.

import { labelMap } from "./label_colours.js";
import { findLesions } from "./lesions.js";

const LIBRARY = "/web/vendor/niivue-0.69.0/index.js";
/** NIFTI_INTENT_LABEL: voxels are numbers of labels, so they are never interpolated. */
const LABELS = 1002;
/** NiiVue does not draw a mask of opacity 0, nor its outlines. */
const MIN_OPACITY = 0.01;
const TURN_DEGREES = 5;

/** The browser cannot draw volumes; the message is for the user. */
export class CannotDraw extends Error {}

/** Draws one scan and its mask on a canvas. */
export class Viewer {
  #nv;
  #library;
  #view = "multi";
  #outlines = true;
  #opacity = 0.3;
  #pending = new Set();

  /** The mask's lesions with their positions in millimetres, largest first. */
  lesions = [];

  /**
   * Creates a viewer on `canvas`. `onMove` gets `{ mm, intensity, label }` when the cross-hair moves.
   * Throws `CannotDraw` if the browser has no WebGL 2.
   */
  static async on(canvas, onMove) {
    if (!canvas.getContext("webgl2", { alpha: true })) {
      throw new CannotDraw("This browser has no WebGL 2, so it cannot draw the scan.");
    }
    const library = await import(LIBRARY);
    const viewer = new Viewer();
    viewer.#library = library;
    viewer.#nv = new library.Niivue({
      backColor: [0, 0, 0, 1],
      clipPlaneHotKey: "",
      crosshairColor: [0.35, 0.85, 0.8, 0.6],
      crosshairGap: 8,
      crosshairWidth: 0.7,
      crosshairWidthUnit: "mm",
      dragAndDropEnabled: false,
      dragMode: library.DRAG_MODE.windowing,
      isRadiologicalConvention: true,
      loadingText: "",
      logLevel: "error",
      multiplanarForceRender: true,
      show3Dcrosshair: true,
      viewModeHotKey: "",
    });
    viewer.#nv.onLocationChange = ({ mm, values }) =>
      onMove({ mm: [...mm].slice(0, 3), intensity: values[0]?.value, label: values[1]?.value });
    await viewer.#nv.attachToCanvas(canvas);
    viewer.#nv.setMultiplanarLayout(library.MULTIPLANAR_TYPE.GRID);
    return viewer;
  }

  /**
   * Shows a scan and its mask, both the bytes of a NIfTI file, gzipped or not. Shows nothing if
   * `signal` is aborted while they are decompressed.
   */
  async show(scan, mask, labels, signal) {
    const [volume, overlay] = await Promise.all([
      this.#library.NVImage.loadFromUrl({ url: scan, name: nameFor(scan, "scan") }),
      this.#library.NVImage.loadFromUrl({
        url: mask,
        name: nameFor(mask, "mask"),
        opacity: Math.max(this.#opacity, MIN_OPACITY),
      }),
    ]);
    if (signal.aborted) return;
    overlay.hdr.intent_code = LABELS;
    overlay.setColormapLabel(labelMap(labels));
    this.clear();
    this.#nv.opts.atlasOutline = this.#outlines ? 1 : 0;
    this.#nv.addVolume(volume);
    this.#nv.addVolume(overlay);
    const shape = overlay.hdr.dims.slice(1, 4);
    this.lesions = findLesions(overlay.img, shape).map(({ voxels, at }) => ({
      voxels,
      mm: toMillimetres(overlay.hdr.affine, at),
    }));
    this.goTo(this.lesions[0]?.mm ?? this.#centre());
    this.setView(this.#view);
  }

  /** Removes both volumes. */
  clear() {
    this.lesions = [];
    // every change draws the scene, and one plane is much faster to draw than a volume
    this.#nv.setSliceType(this.#library.SLICE_TYPE.AXIAL);
    for (const volume of [...this.#nv.volumes]) this.#nv.removeVolume(volume);
  }

  /** Changes the view: `multi`, `axial`, `coronal`, `sagittal` or `render`. */
  setView(view) {
    this.#view = view;
    const types = this.#library.SLICE_TYPE;
    this.#nv.setSliceType(
      {
        multi: types.MULTIPLANAR,
        axial: types.AXIAL,
        coronal: types.CORONAL,
        sagittal: types.SAGITTAL,
        render: types.RENDER,
      }[view],
    );
  }

  /** Sets the opacity of the mask, from 0 to 1. */
  setOpacity(opacity) {
    this.#opacity = opacity;
    if (this.#nv.volumes.length > 1) {
      this.#nv.volumes[1].opacity = Math.max(opacity, MIN_OPACITY);
      this.#refresh(1);
    }
  }

  /** Draws the outlines of the labels, or hides them. */
  setOutlines(shown) {
    this.#outlines = shown;
    this.#nv.opts.atlasOutline = shown ? 1 : 0;
    this.#refresh(1);
  }

  /** The intensities shown as black and as white, and the least and greatest in the scan. */
  get greys() {
    const { cal_min: black, cal_max: white, global_min: least, global_max: most } = this.#scan;
    return { black, white, least, most };
  }

  /** Sets the intensities that are shown as black and as white. */
  setGreys(black, white) {
    this.#scan.cal_min = black;
    this.#scan.cal_max = white;
    this.#refresh(0);
  }

  /** Sets black and white to NiiVue's choice for this scan. */
  resetGreys() {
    this.setGreys(this.#scan.robust_min, this.#scan.robust_max);
  }

  /** Moves the cross-hair to a position in the scanner's millimetres (RAS+). */
  goTo(mm) {
    this.#nv.scene.crosshairPos = this.#nv.mm2frac(mm, 0, true);
    this.#nv.createOnLocationChange();
    this.#nv.drawScene();
  }

  /**
   * Handles a key in the current view, and returns whether the view uses that key.
   * Left and right are those of the screen: the patient's right is on the left.
   */
  press(key) {
    const steps = KEYS[this.#view][key];
    if (steps === undefined || this.#nv.volumes.length === 0) return false;
    if (this.#view === "render") {
      const { renderAzimuth, renderElevation } = this.#nv.scene;
      const [azimuth, elevation] = steps;
      this.#nv.setRenderAzimuthElevation(renderAzimuth + azimuth, renderElevation + elevation);
    } else {
      this.#nv.moveCrosshairInVox(...steps);
    }
    return true;
  }

  get #scan() {
    return this.#nv.volumes[0];
  }

  #centre() {
    return [...this.#nv.frac2mm([0.5, 0.5, 0.5], 0, true)].slice(0, 3);
  }

  /** Updates the colours of a layer, at most once in a frame: a slider moves faster. */
  #refresh(layer) {
    const scheduled = this.#pending.size > 0;
    this.#pending.add(layer);
    if (scheduled) return;
    requestAnimationFrame(() => {
      for (const pending of this.#pending) {
        const volume = this.#nv.volumes[pending];
        if (volume !== undefined) this.#nv.refreshLayers(volume, pending);
      }
      this.#pending.clear();
      this.#nv.drawScene();
    });
  }
}

const PLANE_KEYS = {
  ArrowLeft: [1, 0, 0],
  ArrowRight: [-1, 0, 0],
  ArrowUp: [0, 1, 0],
  ArrowDown: [0, -1, 0],
  PageUp: [0, 0, 1],
  PageDown: [0, 0, -1],
};

const KEYS = {
  multi: PLANE_KEYS,
  axial: PLANE_KEYS,
  coronal: {
    ...PLANE_KEYS,
    ArrowUp: [0, 0, 1],
    ArrowDown: [0, 0, -1],
    PageUp: [0, 1, 0],
    PageDown: [0, -1, 0],
  },
  sagittal: {
    ArrowLeft: [0, 1, 0],
    ArrowRight: [0, -1, 0],
    ArrowUp: [0, 0, 1],
    ArrowDown: [0, 0, -1],
    PageUp: [1, 0, 0],
    PageDown: [-1, 0, 0],
  },
  render: {
    ArrowLeft: [-TURN_DEGREES, 0],
    ArrowRight: [TURN_DEGREES, 0],
    ArrowUp: [0, TURN_DEGREES],
    ArrowDown: [0, -TURN_DEGREES],
  },
};

function nameFor(file, name) {
  const [first, second] = new Uint8Array(file, 0, 2);
  return first === 0x1f && second === 0x8b ? `${name}.nii.gz` : `${name}.nii`;
}

function toMillimetres(affine, [i, j, k]) {
  return affine.slice(0, 3).map((row) => row[0] * i + row[1] * j + row[2] * k + row[3]);
}
