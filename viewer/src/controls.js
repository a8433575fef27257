// Looking around, walking and orbiting in a world where z is up. Mouse, touch and keyboard.

import { Vector3 } from "three";

const TURN_KEYS = { ArrowLeft: -1, ArrowRight: 1 };
const WALK_KEYS = { KeyW: 1, ArrowUp: 1, KeyS: -1, ArrowDown: -1 };
const STRAFE_KEYS = { KeyD: 1, KeyA: -1 };
const LIFT_KEYS = { KeyE: 1, PageUp: 1, KeyQ: -1, PageDown: -1 };
const WALK_M_S = 5;
const TURN_RAD_S = 1.2;
const STEEPEST = (88 * Math.PI) / 180;
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

export class Controls {
  constructor(canvas, camera, onChange) {
    this.canvas = canvas;
    this.camera = camera;
    this.onChange = onChange;
    this.position = new Vector3();
    this.yaw = 0; // clockwise from north
    this.pitch = 0;
    this.roll = 0; // of a photo's pose; gone with the first turn
    this.orbiting = false;
    this.reach = 8;
    this.held = new Set();
    this.padWalk = 0;
    this.pointers = new Map();
    this.enabled = false;
    const on = (name, handler, options) => canvas.addEventListener(name, handler, options);
    on("pointerdown", (e) => this.down(e));
    on("pointermove", (e) => this.move(e));
    on("pointerup", (e) => this.up(e));
    on("pointercancel", (e) => this.up(e));
    on("wheel", (e) => this.wheel(e), { passive: false });
    on("contextmenu", (e) => e.preventDefault());
    window.addEventListener("keydown", (e) => this.key(e, true));
    window.addEventListener("keyup", (e) => this.key(e, false));
    window.addEventListener("blur", () => this.held.clear());
  }

  forward() {
    const flat = Math.cos(this.pitch);
    return new Vector3(Math.sin(this.yaw) * flat, Math.cos(this.yaw) * flat, Math.sin(this.pitch));
  }

  stand(position, forward, roll = 0) {
    this.position.copy(position);
    this.yaw = Math.atan2(forward.x, forward.y);
    this.pitch = Math.asin(clamp(forward.z / forward.length(), -1, 1));
    this.roll = roll;
    this.apply();
  }

  apply() {
    this.camera.position.copy(this.position);
    this.camera.up.set(0, 0, 1);
    this.camera.lookAt(this.position.clone().add(this.forward()));
    this.camera.rotateZ(this.roll);
    this.camera.updateMatrixWorld();
    this.onChange();
  }

  turn(yaw, pitch) {
    const pivot = this.position.clone().addScaledVector(this.forward(), this.reach);
    this.yaw += yaw;
    this.pitch = clamp(this.pitch + pitch, -STEEPEST, STEEPEST);
    this.roll = 0;
    if (this.orbiting) this.position.copy(pivot).addScaledVector(this.forward(), -this.reach);
    this.apply();
  }

  // Walking keeps to the level that one stands on, wherever one looks.
  walk(ahead, right, up) {
    this.position.x += Math.sin(this.yaw) * ahead + Math.cos(this.yaw) * right;
    this.position.y += Math.cos(this.yaw) * ahead - Math.sin(this.yaw) * right;
    this.position.z += up;
    this.apply();
  }

  approach(metres) {
    if (this.orbiting) {
      const closer = clamp(this.reach - metres, 0.5, 500);
      this.position.addScaledVector(this.forward(), this.reach - closer);
      this.reach = closer;
      this.apply();
    } else {
      this.walk(metres, 0, 0);
    }
  }

  down(event) {
    if (!this.enabled) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.canvas.focus({ preventScroll: true });
    this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY, button: event.button });
  }

  up(event) {
    this.pointers.delete(event.pointerId);
  }

  move(event) {
    const last = this.pointers.get(event.pointerId);
    if (!last) return;
    const dx = event.clientX - last.x;
    const dy = event.clientY - last.y;
    if (this.pointers.size === 2) {
      this.pinch(event, last, dx, dy);
    } else if (last.button === 2 || event.shiftKey) {
      this.walk(0, -dx * 0.02, dy * 0.02);
    } else {
      const perPixel = (this.camera.fov * Math.PI) / 180 / this.canvas.clientHeight;
      const sense = this.orbiting ? 2.5 : 1;
      this.turn(-dx * perPixel * sense, dy * perPixel * sense);
    }
    last.x = event.clientX;
    last.y = event.clientY;
  }

  pinch(event, last, dx, dy) {
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)[1];
    const before = Math.hypot(last.x - other.x, last.y - other.y);
    const after = Math.hypot(event.clientX - other.x, event.clientY - other.y);
    this.approach((after - before) * 0.03);
    this.walk(0, -dx * 0.01, dy * 0.01);
  }

  wheel(event) {
    if (!this.enabled) return;
    event.preventDefault();
    const pixels = event.deltaMode === 1 ? event.deltaY * 30 : event.deltaY;
    this.approach(clamp(-pixels * 0.01, -4, 4));
  }

  key(event, isDown) {
    const known = [TURN_KEYS, WALK_KEYS, STRAFE_KEYS, LIFT_KEYS].some((keys) => event.code in keys);
    if (!this.enabled || !known || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    if (isDown) this.held.add(event.code);
    else this.held.delete(event.code);
    this.fast = event.shiftKey;
    this.onChange();
  }

  // Held keys and buttons; to be called every frame with the seconds since the last.
  step(seconds) {
    const sum = (keys) => [...this.held].reduce((total, code) => total + (keys[code] ?? 0), 0);
    const turn = sum(TURN_KEYS);
    const ahead = sum(WALK_KEYS) + this.padWalk;
    const right = sum(STRAFE_KEYS);
    const up = sum(LIFT_KEYS);
    const metres = WALK_M_S * (this.fast ? 4 : 1) * seconds;
    if (turn) this.turn(turn * TURN_RAD_S * seconds, 0);
    if (ahead || right || up) this.walk(ahead * metres, right * metres, up * metres * 0.6);
  }

  stop() {
    this.enabled = false;
    this.held.clear();
    this.pointers.clear();
    this.padWalk = 0;
  }
}
