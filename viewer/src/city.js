// The city's description: city.json, its boxes, and the files beside it.

export const STATES = {
  done: { label: "Splat ready", color: "#1f8a70" },
  skipped: { label: "Skipped", color: "#a39c8f" },
  failed: { label: "Failed", color: "#c4472f" },
  missing: { label: "Not made yet", color: "#8fa3b0" },
};

export class FileProblem extends Error {}

async function answer(url) {
  let response;
  try {
    response = await fetch(url);
  } catch {
    throw new FileProblem(`${url} could not be loaded: the server does not answer.`);
  }
  if (!response.ok) {
    throw new FileProblem(`${url} could not be loaded: the server says ${response.status}.`);
  }
  return response;
}

export async function loadJson(url) {
  const response = await answer(url);
  try {
    return await response.json();
  } catch {
    throw new FileProblem(`${url} is not valid JSON.`);
  }
}

export async function loadBytes(url, sizeBytes, onBytes) {
  const response = await answer(url);
  const chunks = [];
  let length = 0;
  for (const reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    chunks.push(value);
    length += value.length;
    onBytes(value.length);
  }
  if (length !== sizeBytes) {
    throw new FileProblem(`${url} has ${length} bytes; city.json says ${sizeBytes}.`);
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

export class City {
  constructor(data) {
    if (data.version !== 1) {
      throw new FileProblem(`city.json has version ${data.version}; this page reads version 1.`);
    }
    Object.assign(this, data);
    this.byKey = new Map(data.boxes.map((box) => [box.key, box]));
    this.prefix = commonPrefix(data.boxes.map((box) => box.key));
  }

  // Quadkeys of one city begin alike: the differing end is the name that people can read.
  label(key) {
    return key.slice(Math.max(0, Math.min(this.prefix, key.length - 3)));
  }

  boxAt(east, north) {
    return this.boxes.find((box) => inSquare(box.square_enu_m, east, north));
  }

  // Good to a few centimetres inside the box: for showing a place on the map, not for measuring.
  lonLat(box, east, north) {
    const [sw, se, , nw] = box.square_enu_m;
    const right = [se[0] - sw[0], se[1] - sw[1]];
    const top = [nw[0] - sw[0], nw[1] - sw[1]];
    const det = right[0] * top[1] - right[1] * top[0];
    const de = east - sw[0];
    const dn = north - sw[1];
    const u = (de * top[1] - dn * top[0]) / det;
    const v = (right[0] * dn - right[1] * de) / det;
    return [box.west + u * (box.east - box.west), box.south + v * (box.north - box.south)];
  }
}

function commonPrefix(keys) {
  if (keys.length < 2) return Math.max(0, (keys[0] || "").length - 4);
  let n = 0;
  while (keys.every((key) => n < key.length && key[n] === keys[0][n])) n += 1;
  return n;
}

function inSquare(corners, east, north) {
  return corners.every(([e0, n0], i) => {
    const [e1, n1] = corners[(i + 1) % corners.length];
    return (e1 - e0) * (north - n0) - (n1 - n0) * (east - e0) >= 0;
  });
}
