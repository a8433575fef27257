// The map: boxes by state, fringes, photos with their headings. No tiles, fonts or sprites.

import { Map as MapLibre, NavigationControl, Popup, ScaleControl } from "maplibre-gl";
import { STATES } from "./city.js";

const byState = ["match", ["get", "state"], ...Object.entries(STATES).flatMap(([k, s]) => [k, s.color]), "#8fa3b0"];
const HEADING_M = 5;
const EMPTY = { type: "FeatureCollection", features: [] };

function headings(cameras) {
  const features = cameras.features
    .filter((f) => f.properties.heading_deg !== null)
    .map((f) => {
      const [lon, lat] = f.geometry.coordinates;
      const turn = (f.properties.heading_deg * Math.PI) / 180;
      const degree = 111320;
      const tip = [
        lon + (HEADING_M * Math.sin(turn)) / (degree * Math.cos((lat * Math.PI) / 180)),
        lat + (HEADING_M * Math.cos(turn)) / degree,
      ];
      return { ...f, geometry: { type: "LineString", coordinates: [[lon, lat], tip] } };
    });
  return { type: "FeatureCollection", features };
}

function style(boxes, cameras) {
  const isBox = ["==", ["get", "kind"], "box"];
  const hot = ["boolean", ["feature-state", "hot"], false];
  const photo = ["case", ["get", "registered"], "#24507a", "#b08968"];
  return {
    version: 8,
    sources: {
      boxes: { type: "geojson", data: boxes, promoteId: "key" },
      cameras: { type: "geojson", data: cameras },
      headings: { type: "geojson", data: headings(cameras) },
      here: { type: "geojson", data: EMPTY },
    },
    layers: [
      { id: "paper", type: "background", paint: { "background-color": "#f3f1ec" } },
      {
        id: "boxes",
        type: "fill",
        source: "boxes",
        filter: isBox,
        paint: { "fill-color": byState, "fill-opacity": ["case", hot, 0.5, 0.26] },
      },
      {
        id: "box-borders",
        type: "line",
        source: "boxes",
        filter: isBox,
        paint: { "line-color": byState, "line-width": ["case", hot, 3, 1.4] },
      },
      {
        id: "fringes",
        type: "line",
        source: "boxes",
        filter: ["==", ["get", "kind"], "edge"],
        layout: { "line-cap": "butt" },
        paint: { "line-color": "#2b3a42", "line-width": 1.2, "line-dasharray": [3, 2.4], "line-opacity": 0.75 },
      },
      {
        id: "headings",
        type: "line",
        source: "headings",
        minzoom: 15.5,
        paint: { "line-color": photo, "line-width": 1.3, "line-opacity": 0.8 },
      },
      {
        id: "cameras",
        type: "circle",
        source: "cameras",
        paint: {
          "circle-color": photo,
          "circle-radius": ["interpolate", ["exponential", 1.6], ["zoom"], 12, 0.8, 16, 2, 20, 5],
          "circle-stroke-color": "#ffffff",
          "circle-stroke-width": ["interpolate", ["linear"], ["zoom"], 16, 0, 18, 1],
        },
      },
      {
        id: "here",
        type: "circle",
        source: "here",
        paint: { "circle-color": "#e0a100", "circle-radius": 7, "circle-stroke-color": "#fff", "circle-stroke-width": 2 },
      },
    ],
  };
}

export class CityMap {
  constructor(container, city, boxes, cameras, { onBox, onPhoto, describe, isOpen }) {
    this.city = city;
    this.describe = describe;
    const [west, south, east, north] = city.bounds;
    this.map = new MapLibre({
      container,
      style: style(boxes, cameras),
      bounds: [[west, south], [east, north]],
      fitBoundsOptions: { padding: this.padding() },
      attributionControl: false,
      canvasContextAttributes: { preserveDrawingBuffer: true },
      dragRotate: false,
      pitchWithRotate: false,
      touchPitch: false,
      fadeDuration: 0,
      maxZoom: 22,
    });
    this.map.touchZoomRotate.disableRotation();
    this.map.addControl(new NavigationControl({ showCompass: false }), "top-right");
    this.map.addControl(new ScaleControl({ maxWidth: 120 }), "bottom-right");
    this.popup = new Popup({ closeButton: false, closeOnClick: false, offset: 12, className: "tip" });
    this.hot = null;
    this.map.on("click", (event) => {
      const photo = this.photoAt(event.point);
      if (photo && isOpen(photo.properties.box)) return onPhoto(photo.properties.box, photo.properties.image_id);
      const box = this.boxUnder(event.point);
      if (box) onBox(box);
    });
    this.map.on("mousemove", (event) => this.hover(event));
    this.map.on("mouseout", () => this.heat(null));
    this.loaded = new Promise((resolve) => this.map.once("idle", resolve));
  }

  // The list covers part of the map: keep the city in the free part.
  padding() {
    const wide = window.innerWidth > 720;
    return wide
      ? { top: 50, bottom: 60, left: 350, right: 60 }
      : { top: 40, bottom: Math.round(window.innerHeight * 0.47), left: 30, right: 50 };
  }

  photoAt({ x, y }) {
    if (this.map.getZoom() < 17) return null;
    const around = [[x - 5, y - 5], [x + 5, y + 5]];
    return this.map.queryRenderedFeatures(around, { layers: ["cameras"] }).find((f) => f.properties.registered);
  }

  boxUnder(point) {
    return this.map.queryRenderedFeatures(point, { layers: ["boxes"] })[0]?.properties.key ?? null;
  }

  hover(event) {
    const photo = this.photoAt(event.point);
    const key = this.boxUnder(event.point);
    this.heat(key);
    if (!key) return;
    const text = photo ? `Photo ${photo.properties.image_id}` : this.describe(key);
    this.popup.setLngLat(event.lngLat).setText(text).addTo(this.map);
  }

  heat(key) {
    if (key === this.hot) return;
    if (this.hot) this.map.setFeatureState({ source: "boxes", id: this.hot }, { hot: false });
    if (key) this.map.setFeatureState({ source: "boxes", id: key }, { hot: true });
    else this.popup.remove();
    this.hot = key;
    this.map.getCanvas().style.cursor = key ? "pointer" : "";
  }

  showHere(lonLat) {
    const point = { type: "Feature", properties: {}, geometry: { type: "Point", coordinates: lonLat } };
    this.map.getSource("here")?.setData(lonLat ? point : EMPTY);
  }

  shown() {
    this.map.resize();
  }

  project(lonLat) {
    const { x, y } = this.map.project(lonLat);
    return [x, y];
  }
}
