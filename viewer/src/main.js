// The page: opens at the map, enters boxes, and says what is going on.

import "maplibre-gl/dist/maplibre-gl.css";
import "./style.css";
import { City, FileProblem, STATES, loadJson } from "./city.js";
import { CityMap } from "./map.js";

const $ = (id) => document.getElementById(id);
const status = { ready: false, mode: "map", box: null, frames: 0, splatsLoaded: 0, view: null, error: null };
window.__citysplat = status;

let city = null;
let map = null;
let scene = null;

function tell(title, text, { isFatal = false } = {}) {
  status.error = `${title}: ${text}`;
  const box = $("message");
  box.replaceChildren(element("h2", title), element("p", text));
  box.classList.toggle("toast", !isFatal);
  if (!isFatal) {
    const close = element("button", "Close");
    close.type = "button";
    close.onclick = () => (box.hidden = true);
    box.append(close);
  }
  box.hidden = false;
}

function element(tag, text = "", className = "") {
  const node = document.createElement(tag);
  node.textContent = text;
  node.className = className;
  return node;
}

function hasWebGl() {
  return Boolean(document.createElement("canvas").getContext("webgl2"));
}

function describe(key) {
  const box = city.byKey.get(key);
  const quality = box.psnr_db === null ? "" : `, ${box.psnr_db.toFixed(1)} dB`;
  return `${STATES[box.state].label}: ${box.n_registered} of ${box.n_images} photos${quality}`;
}

function fillPanel() {
  document.title = `${city.name} · CitySplat`;
  $("title").textContent = city.name;
  $("attribution").textContent = city.attribution;
  const done = city.boxes.filter((box) => box.splat).length;
  const photos = city.boxes.reduce((sum, box) => sum + box.n_images, 0);
  const solved = city.boxes.reduce((sum, box) => sum + box.n_registered, 0);
  $("summary").textContent = `${done} of ${city.boxes.length} boxes ready · ${solved} of ${photos} photos placed`;
  const counts = (state) => city.boxes.filter((box) => box.state === state).length;
  for (const [state, { label, color }] of Object.entries(STATES)) {
    if (counts(state)) $("legend").append(legendEntry("box", color, `${label} (${counts(state)})`));
  }
  $("legend").append(legendEntry("dot", "#24507a", "Photo, placed"), legendEntry("dot", "#b08968", "Photo, not placed"));
  $("legend").append(legendEntry("dash", "#2b3a42", "Border shared by two boxes"));
  const order = Object.keys(STATES);
  const sorted = [...city.boxes].sort((a, b) => order.indexOf(a.state) - order.indexOf(b.state));
  for (const box of sorted) $("list").append(listEntry(box));
}

function legendEntry(shape, color, text) {
  const entry = element("li");
  const mark = element("span", "", shape);
  mark.style.setProperty("--color", color);
  entry.append(mark, text);
  return entry;
}

function listEntry(box) {
  const entry = element("li");
  const button = element("button", "", "entry");
  button.type = "button";
  button.dataset.key = box.key;
  const mark = element("span", "", "box");
  mark.style.setProperty("--color", STATES[box.state].color);
  const detail = box.reason || describe(box.key).split(": ")[1];
  button.append(mark, element("b", `Box ${city.label(box.key)}`), element("small", detail));
  button.onclick = () => go(box.key);
  button.onmouseenter = () => map?.heat(box.key);
  button.onmouseleave = () => map?.heat(null);
  entry.append(button);
  return entry;
}

function fillInfo(box) {
  const rows = [
    ["State", STATES[box.state].label],
    ["Reason", box.reason],
    ["Key", box.key],
    ["Photos", `${box.n_images} in the box, ${box.n_registered} placed`],
    ["Held-out views", box.psnr_db === null ? "not measured" : `${box.psnr_db.toFixed(2)} dB (median PSNR)`],
    ["Gaussians", box.splat ? box.splat.n_gaussians.toLocaleString("en") : "none"],
    ["File", box.splat ? `${(box.splat.size_bytes / 1e6).toFixed(1)} MB` : ""],
    ["Neighbours", box.neighbours.length ? box.neighbours.map((key) => city.label(key)).join(", ") : "none"],
    ["Keys", "drag to look, W A S D to walk, Q E down and up, Shift faster, [ ] photos, C cameras, O orbit, Esc map"],
  ];
  const list = element("dl");
  for (const [name, text] of rows) if (text) list.append(element("dt", name), element("dd", text));
  $("info").replaceChildren(element("h2", `Box ${city.label(box.key)}`), list);
  if (!box.splat) {
    const close = element("button", "Close");
    close.type = "button";
    close.onclick = () => toggleInfo(false);
    $("info").append(close);
  }
}

function toggleInfo(shown) {
  $("info").hidden = !shown;
  $("info-button").setAttribute("aria-pressed", String(shown));
}

function go(key, photo) {
  const hash = `#box=${key}${photo ? `&photo=${encodeURIComponent(photo)}` : ""}`;
  if (location.hash === hash) follow();
  else location.hash = hash;
}

async function follow() {
  const wish = new URLSearchParams(location.hash.slice(1));
  const key = wish.get("box");
  if (!key) return showMap();
  const box = city.byKey.get(key);
  if (!box) {
    showMap();
    return tell("No such box", `The link names box ${key}, which this city does not have.`);
  }
  if (!box.splat) {
    showMap();
    fillInfo(box);
    return toggleInfo(true);
  }
  if (scene?.box === box && !wish.get("photo")) return undefined;
  return enter(box, wish.get("photo"));
}

async function enter(box, photo) {
  $("message").hidden = true;
  setMode("scene");
  try {
    scene ??= await makeScene();
    await scene.enter(box.key, photo);
  } catch (error) {
    showMap();
    tell("The scene cannot be shown", String(error.message ?? error));
  }
}

async function makeScene() {
  $("progress").textContent = "Loading the viewer";
  $("progress").hidden = false;
  const { SplatScene } = await import("./scene.js");
  return new SplatScene($("scene"), city, {
    onBox(box) {
      status.box = box.key;
      $("box-name").textContent = `${city.name} · Box ${city.label(box.key)}`;
      fillInfo(box);
      if (!location.hash.startsWith(`#box=${box.key}`)) history.replaceState(null, "", `#box=${box.key}`);
    },
    onProgress(part) {
      $("progress").hidden = part === null;
      if (part !== null) $("progress").textContent = `Loading splats ${Math.round(part * 100)} %`;
    },
    onProblem(error, url) {
      const text = error instanceof FileProblem ? error.message : `${url}: ${error.message ?? error}`;
      tell("A part of the city is missing", text);
    },
    onPhoto(photo, n, index) {
      $("photo").textContent = photo ? `Photo ${index + 1} of ${n}` : `${n} photos`;
      $("photo").title = photo ? `Image ${photo.image_id}${photo.held_out ? ", held out of training" : ""}` : "";
    },
    onFrame() {
      status.frames += 1;
      const shown = [...scene.parts.values()].filter((part) => part.mesh);
      status.splatsLoaded = shown.length;
      status.view = {
        position_enu_m: scene.cityPosition(),
        forward: scene.controls.forward().toArray(),
        fov_y_deg: scene.camera.fov,
        loaded: shown.map((part) => part.url).sort(),
      };
    },
  });
}

function setMode(mode) {
  status.mode = mode;
  document.body.dataset.mode = mode;
  for (const id of ["bar", "tools", "walk"]) $(id).hidden = mode !== "scene";
  toggleInfo(false);
}

function showMap() {
  if (scene?.box) {
    const [east, north] = scene.cityPosition();
    map.showHere(city.lonLat(scene.box, east, north));
    scene.leave();
  }
  status.box = null;
  status.splatsLoaded = 0;
  $("progress").hidden = true;
  setMode("map");
  map.shown();
}

function toggle(id, apply) {
  const pressed = $(id).getAttribute("aria-pressed") !== "true";
  $(id).setAttribute("aria-pressed", String(pressed));
  apply(pressed);
  $("scene").focus({ preventScroll: true });
}

function wireControls() {
  const actions = {
    back: () => (location.hash = ""),
    previous: () => scene?.stepPhoto(-1),
    next: () => scene?.stepPhoto(1),
    orbit: () => toggle("orbit", (on) => scene && (scene.controls.orbiting = on)),
    cameras: () => toggle("cameras", (on) => scene?.toggleCameras(on)),
    "info-button": () => toggleInfo($("info").hidden),
    sheet: () => $("panel").classList.toggle("closed"),
  };
  for (const [id, act] of Object.entries(actions)) $(id).addEventListener("click", act);
  const keys = { Escape: "back", BracketLeft: "previous", BracketRight: "next", KeyC: "cameras", KeyO: "orbit", KeyI: "info-button" };
  window.addEventListener("keydown", (event) => {
    if (status.mode !== "scene" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (keys[event.code]) actions[keys[event.code]]();
  });
  for (const button of document.querySelectorAll("[data-walk]")) {
    const press = (on) => () => {
      if (!scene) return;
      scene.controls.padWalk = on ? Number(button.dataset.walk) : 0;
      scene.wake();
    };
    button.addEventListener("pointerdown", press(true));
    for (const end of ["pointerup", "pointerleave", "pointercancel"]) button.addEventListener(end, press(false));
    button.addEventListener("contextmenu", (event) => event.preventDefault());
  }
  window.addEventListener("hashchange", follow);
}

async function open() {
  city = new City(await loadJson("city.json"));
  fillPanel();
  if (!hasWebGl()) {
    return tell(
      "This browser shows no WebGL",
      "The map and the splats need WebGL 2. Switch on hardware acceleration, or open the page in another browser.",
      { isFatal: true },
    );
  }
  const [boxes, cameras] = await Promise.all([loadJson("boxes.geojson"), loadJson("cameras.geojson")]);
  map = new CityMap($("map"), city, boxes, cameras, {
    onBox: (key) => go(key),
    onPhoto: (key, photo) => go(key, photo),
    describe: (key) => `Box ${city.label(key)} · ${describe(key)}`,
    isOpen: (key) => Boolean(city.byKey.get(key)?.splat),
  });
  status.map = map;
  wireControls();
  if (location.hash) follow();
  await map.loaded;
  status.ready = true;
  return undefined;
}

if (location.protocol !== "file:") {
  open().catch((error) => {
    const text = error instanceof FileProblem ? error.message : String(error.message ?? error);
    tell("The city cannot be opened", text, { isFatal: true });
  });
}
