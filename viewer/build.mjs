// Builds the page into the Python package, so that users need no Node.
import { build } from "esbuild";
import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const out = join(here, "..", "citysplat_core", "city", "viewer_dist");
const modules = join(here, "node_modules");

rmSync(out, { recursive: true, force: true });
mkdirSync(join(out, "assets"), { recursive: true });

// Splats beside the view must be drawn as they were trained: the trainer bounds the slope at which
// it flattens a Gaussian to 1.3 times the view, and does not drop one whose centre is out of view.
// Spark does neither, and a wall that one walks along would smear or vanish.
const slope = {
  find: "vec2 J2 = -(J1 * viewCenter.xy) * invZ;",
  put:
    "vec2 J2 = -(J1 * clamp(viewCenter.xy, 1.3 * viewCenter.z / vec2(projectionMatrix[0][0], projectionMatrix[1][1])," +
    " -1.3 * viewCenter.z / vec2(projectionMatrix[0][0], projectionMatrix[1][1]))) * invZ;",
};
const boundSlope = {
  name: "bound-slope",
  setup(builder) {
    builder.onLoad({ filter: /spark\.module\.js$/ }, ({ path }) => {
      const pieces = readFileSync(path, "utf8").split(slope.find);
      if (pieces.length !== 2) throw new Error(`Spark changed: its projection is there ${pieces.length - 1} times`);
      return { contents: pieces.join(slope.put), loader: "js" };
    });
  },
};

await build({
  plugins: [boundSlope],
  entryPoints: { main: join(here, "src", "main.js") },
  outdir: join(out, "assets"),
  bundle: true,
  splitting: true,
  format: "esm",
  target: "es2022",
  minify: true,
  legalComments: "none",
  chunkNames: "[name]-[hash]",
  logLevel: "warning",
});

// MapLibre looks for its worker beside the file that it was bundled into.
cpSync(
  join(modules, "maplibre-gl", "dist", "maplibre-gl-worker.mjs"),
  join(out, "assets", "maplibre-gl-worker.mjs"),
);

// The page may run only its own scripts; the one inline script is named by its hash.
const page = readFileSync(join(here, "src", "index.html"), "utf8");
const inline = /<script>([\s\S]*?)<\/script>/.exec(page)[1];
const hash = createHash("sha256").update(inline).digest("base64");
writeFileSync(join(out, "index.html"), page.replace("{{BOOT_HASH}}", `sha256-${hash}`));

// Everything that is bundled, here or already inside the packages' own files.
const skipped = new Set(["esbuild", "@esbuild", "@types"]);
function packages(folder, scope = "") {
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith(".") && !skipped.has(entry.name))
    .flatMap((entry) =>
      entry.name.startsWith("@")
        ? packages(join(folder, entry.name), `${entry.name}/`)
        : [{ name: scope + entry.name, folder: join(folder, entry.name) }],
    );
}

const parts = packages(modules)
  .sort((a, b) => (a.name < b.name ? -1 : 1))
  .map(({ name, folder }) => {
    const info = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    const file = readdirSync(folder).find((f) => /^(licen[cs]e|copying)/i.test(f));
    const text = file ? readFileSync(join(folder, file), "utf8").trim() : `License: ${info.license}`;
    return `${"=".repeat(80)}\n${name} ${info.version}  (${info.license})\n${"=".repeat(80)}\n\n${text}\n`;
  });
writeFileSync(
  join(out, "THIRD_PARTY_LICENSES"),
  "The files in assets/ contain the following packages, minified. Spark is changed in one line, which\n" +
    "bounds the slope of its projection as the training does; the others are unchanged.\n" +
    "Spark holds WebAssembly that its authors built from Rust; it is published under Spark's licence.\n\n" +
    parts.join("\n"),
);
if (!existsSync(join(out, "assets", "main.js"))) throw new Error("the build made no assets/main.js");
