// The splat scene: three in local East-North-Up metres, z up, around the entered box.

import { SparkRenderer, SplatFileType, SplatMesh } from "@sparkjsdev/spark";
import {
  BufferGeometry,
  Color,
  Float32BufferAttribute,
  LineBasicMaterial,
  LineSegments,
  PerspectiveCamera,
  Quaternion,
  Scene,
  Vector3,
  WebGLRenderer,
} from "three";
import { loadBytes, loadJson } from "./city.js";
import { Controls } from "./controls.js";

const AWAKE_MS = 1200;
const DEFAULT_FOV_DEG = 62;
const FRUSTUM_M = 0.7;
const TRAINED = [0.14, 0.31, 0.48];
const HELD_OUT = [0.85, 0.45, 0.1];

export class SplatScene {
  constructor(canvas, city, report) {
    this.canvas = canvas;
    this.city = city;
    this.report = report; // {onBox, onProgress, onProblem, onFrame, onPhoto}
    this.renderer = new WebGLRenderer({ canvas, antialias: false, preserveDrawingBuffer: true });
    this.renderer.setPixelRatio(Math.min(window.devicePixelRatio, 1.5));
    this.scene = new Scene();
    this.scene.background = new Color("#000000"); // what stood behind the Gaussians in training
    this.camera = new PerspectiveCamera(DEFAULT_FOV_DEG, 1, 0.01, 20000);
    this.spark = null;
    this.origin = [0, 0, 0]; // of the scene in the city frame, double precision
    this.parts = new Map(); // url -> {mesh, box, origin, promise}
    this.box = null;
    this.cameras = [];
    this.photo = -1;
    this.showCameras = false;
    this.wanted = { bytes: 0, got: 0 };
    this.controls = new Controls(canvas, this.camera, () => this.wake());
    this.running = false;
    this.awakeUntil = 0;
    this.last = 0;
    new ResizeObserver(() => this.resize()).observe(canvas);
  }

  wake(ms = AWAKE_MS) {
    this.awakeUntil = Math.max(this.awakeUntil, performance.now() + ms);
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width || !height) return;
    this.renderer.setSize(width, height, false);
    this.camera.aspect = width / height;
    this.fitFov();
    this.wake();
  }

  // A photo's whole field of view fits into the window, whatever its shape.
  fitFov() {
    const photo = this.cameras[this.photo];
    const tall = Math.tan(((photo?.fov_y_deg ?? DEFAULT_FOV_DEG) * Math.PI) / 360);
    const taller = photo ? Math.max(1, photo.aspect / this.camera.aspect) : 1;
    this.camera.fov = (Math.atan(tall * taller) * 360) / Math.PI;
    this.camera.updateProjectionMatrix();
  }

  local([east, north, up]) {
    return new Vector3(east - this.origin[0], north - this.origin[1], up - this.origin[2]);
  }

  cityPosition() {
    const p = this.controls.position;
    return [p.x + this.origin[0], p.y + this.origin[1], p.z + this.origin[2]];
  }

  async enter(key, imageId) {
    const box = this.city.byKey.get(key);
    this.startSpark(box);
    this.moveTo(box);
    this.controls.stand(...this.startOf(box));
    this.photo = -1;
    this.resize();
    this.fitFov();
    this.start();
    await Promise.all([this.loadAround(box), this.loadCameras(box, imageId)]);
  }

  startSpark(box) {
    if (this.spark) return;
    // The blur that the Gaussians were trained with, or they look too thin or too fat.
    const blur = box.splat.antialiased ? { blurAmount: 0.3 } : { preBlurAmount: 0.3, blurAmount: 0 };
    this.spark = new SparkRenderer({
      renderer: this.renderer,
      accumExtSplats: true,
      // As in training: nothing is cut for its centre being beside the view, or for being near.
      clipXY: 1e4,
      maxPixelRadius: 1e5,
      maxStdDev: 3.33,
      sortRadial: false,
      onDirty: () => this.wake(300),
      ...blur,
    });
    this.scene.add(this.spark);
  }

  startOf(box) {
    const start = box.start ?? {
      position_enu_m: box.splat.origin_enu_m,
      look_at_enu_m: [box.splat.origin_enu_m[0], box.splat.origin_enu_m[1] + 10, box.splat.origin_enu_m[2]],
    };
    const position = this.local(start.position_enu_m);
    return [position, this.local(start.look_at_enu_m).sub(position)];
  }

  // Makes a box the current one: its origin becomes the scene's, so that float32 stays exact there.
  moveTo(box) {
    const from = this.origin;
    this.origin = box.splat.origin_enu_m;
    const shift = new Vector3(...from.map((value, i) => value - this.origin[i]));
    this.controls.position.add(shift);
    this.box = box;
    for (const part of this.parts.values()) part.mesh?.position.copy(this.local(part.origin));
    this.showParts();
    this.report.onBox(box);
  }

  wantedParts(box) {
    const near = box.neighbours.map((key) => this.city.byKey.get(key)).filter((other) => other?.splat);
    const parts = [{ box, ...box.splat, isOwn: true }];
    if (box.splat.environment) {
      parts.push({ box, ...box.splat.environment, origin_enu_m: box.splat.origin_enu_m, isBackdrop: true });
    }
    return parts.concat(near.map((other) => ({ box: other, ...other.splat })));
  }

  async loadAround(box) {
    const wanted = this.wantedParts(box);
    const urls = new Set(wanted.map((part) => part.url));
    for (const [url, part] of this.parts) {
      if (!urls.has(url)) this.drop(url, part);
    }
    const fresh = wanted.filter((part) => part.n_gaussians > 0 && !this.parts.has(part.url));
    for (const part of fresh) {
      this.parts.set(part.url, { ...part, origin: part.origin_enu_m, mesh: null });
      this.wanted.bytes += part.size_bytes;
    }
    // The box itself first: what is under one's feet matters most.
    for (const part of fresh) {
      if (this.parts.has(part.url)) await this.load(part.url);
    }
    this.wanted = { bytes: 0, got: 0 };
    this.report.onProgress(null);
  }

  async load(url) {
    const part = this.parts.get(url);
    try {
      const bytes = await loadBytes(url, part.size_bytes, (n) => {
        this.wanted.got += n;
        this.report.onProgress(this.wanted.got / this.wanted.bytes);
        this.wake(200);
      });
      const mesh = new SplatMesh({
        fileBytes: bytes,
        fileType: SplatFileType.SPZ,
        extSplats: true,
      });
      await mesh.initialized;
      if (this.parts.get(url) !== part) return mesh.dispose(); // left meanwhile
      part.mesh = mesh;
      mesh.position.copy(this.local(part.origin));
      this.scene.add(mesh);
      this.showParts();
    } catch (error) {
      this.parts.delete(url);
      this.report.onProblem(error, url);
    }
  }

  showParts() {
    for (const part of this.parts.values()) {
      if (part.mesh) part.mesh.visible = !part.isBackdrop || part.box === this.box;
    }
    this.wake(3000);
  }

  drop(url, part) {
    this.parts.delete(url);
    if (!part.mesh) return;
    this.scene.remove(part.mesh);
    part.mesh.dispose();
  }

  async loadCameras(box, imageId) {
    this.cameras = [];
    this.photo = -1;
    this.drawCameras();
    if (!box.cameras) return;
    try {
      const file = await loadJson(box.cameras);
      if (this.box !== box) return;
      this.cameras = file.cameras;
    } catch (error) {
      return this.report.onProblem(error, box.cameras);
    }
    this.drawCameras();
    const index = this.cameras.findIndex((camera) => camera.image_id === imageId);
    if (index >= 0) this.standAt(index);
    else this.report.onPhoto(null, this.cameras.length);
  }

  // Photos are ordered as they were taken; the first step goes to the nearest.
  stepPhoto(step) {
    const n = this.cameras.length;
    if (!n) return;
    if (this.photo < 0) this.standAt(this.nearestPhoto());
    else this.standAt((this.photo + step + n) % n);
  }

  nearestPhoto() {
    const here = this.controls.position;
    const far = this.cameras.map((c) => this.local(c.position_enu_m).distanceTo(here));
    return far.indexOf(Math.min(...far));
  }

  standAt(index) {
    this.photo = index;
    const { position_enu_m: position } = this.cameras[index];
    const axes = cameraAxes(this.cameras[index]);
    const level = new Vector3().crossVectors(axes.forward, new Vector3(0, 0, 1)).normalize();
    const over = new Vector3().crossVectors(level, axes.forward);
    const roll = Math.atan2(axes.right.dot(over), axes.right.dot(level));
    this.controls.stand(this.local(position), axes.forward, roll);
    this.fitFov();
    this.report.onPhoto(this.cameras[index], this.cameras.length, index);
  }

  toggleCameras(shown) {
    this.showCameras = shown;
    this.drawCameras();
  }

  drawCameras() {
    if (this.frusta) {
      this.scene.remove(this.frusta);
      this.frusta.geometry.dispose();
      this.frusta.material.dispose();
      this.frusta = null;
    }
    this.wake();
    if (!this.showCameras || !this.cameras.length) return;
    this.frusta = frusta(this.cameras, this.origin);
    this.scene.add(this.frusta);
  }

  start() {
    this.controls.enabled = true;
    this.wake(3000);
    if (this.running) return;
    this.running = true;
    this.last = performance.now();
    this.renderer.setAnimationLoop((now) => this.frame(now));
  }

  leave() {
    this.running = false;
    this.renderer.setAnimationLoop(null);
    this.controls.stop();
    for (const [url, part] of [...this.parts]) this.drop(url, part);
    this.box = null;
  }

  frame(now) {
    const seconds = Math.min(0.1, (now - this.last) / 1000);
    this.last = now;
    this.controls.step(seconds);
    if (performance.now() > this.awakeUntil) return;
    this.followBorder();
    this.renderer.render(this.scene, this.camera);
    this.report.onFrame();
  }

  // Walking over a border enters the next box without a stop.
  followBorder() {
    const [east, north] = this.cityPosition();
    const next = this.city.boxAt(east, north);
    if (!next?.splat || next === this.box) return;
    this.moveTo(next);
    this.controls.apply();
    this.loadAround(next);
    this.loadCameras(next);
  }
}

// Axes in the city frame of a photo whose pose is cam_from_world, x right, y down, z forward.
function cameraAxes(camera) {
  const [w, x, y, z] = camera.rotation_wxyz;
  const worldFromCamera = new Quaternion(x, y, z, w).normalize().invert();
  const axis = (a, b, c) => new Vector3(a, b, c).applyQuaternion(worldFromCamera);
  return { right: axis(1, 0, 0), down: axis(0, 1, 0), forward: axis(0, 0, 1) };
}

function frusta(cameras, origin) {
  const points = [];
  const colors = [];
  for (const camera of cameras) {
    const at = new Vector3(...camera.position_enu_m.map((value, i) => value - origin[i]));
    const { right, down, forward } = cameraAxes(camera);
    const half = Math.tan((camera.fov_y_deg * Math.PI) / 360) * FRUSTUM_M;
    const corners = [[-1, -1], [1, -1], [1, 1], [-1, 1]].map(([x, y]) =>
      at
        .clone()
        .addScaledVector(forward, FRUSTUM_M)
        .addScaledVector(right, x * half * camera.aspect)
        .addScaledVector(down, y * half),
    );
    corners.forEach((corner, i) => {
      for (const point of [at, corner, corner, corners[(i + 1) % 4]]) {
        points.push(point.x, point.y, point.z);
        colors.push(...(camera.held_out ? HELD_OUT : TRAINED));
      }
    });
  }
  const geometry = new BufferGeometry();
  geometry.setAttribute("position", new Float32BufferAttribute(points, 3));
  geometry.setAttribute("color", new Float32BufferAttribute(colors, 3));
  const lines = new LineSegments(geometry, new LineBasicMaterial({ vertexColors: true }));
  lines.frustumCulled = false;
  return lines;
}
