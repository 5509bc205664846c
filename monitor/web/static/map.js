// maplibre-gl 6.17.0 and pmtiles 4.5.0, both of npm (`npm pack`), lie unchanged in vendor/.
// What every map shares: its library, which comes when the map is near, the ground, marks, colours, graticule.
"use strict";
window.SlopewardMap = (() => {
  const version = new URL(document.currentScript.src).search;
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const KNOWN = { green: "0", blue: "b", yellow: "1", amber: "1", orange: "2", red: "3", purple: "4" };
  // place on the colour ramp, as `level_class` of the server has it
  const levelClass = (name, number, top) =>
    number === null || number === undefined
      ? "u"
      : (KNOWN[name?.toLowerCase()] ?? String(Math.round((3 * number) / Math.max(top, 1))));
  const NOTHING = { type: "FeatureCollection", features: [] };
  const FONT = ["Noto Sans Bold"];
  // a name lies where it covers no mark and no other name: close to its mark, then further off;
  // where there is no such place it covers one rather than hide
  const SIDES = ["left", "right", "top", "bottom", "top-left", "top-right", "bottom-left", "bottom-right"];
  const names = (near) => ({
    "text-font": FONT,
    "text-size": 13,
    "text-justify": "auto",
    "text-overlap": "always",
    "text-variable-anchor-offset": [near, near + 1.2, near + 2.4].flatMap((far) =>
      SIDES.flatMap((side) => [side, shift(side, far)]),
    ),
  });
  function shift(side, far) {
    const part = side.includes("-") ? far * Math.SQRT1_2 : far;
    return [
      side.includes("left") ? part : side.includes("right") ? -part : 0,
      side.includes("top") ? part : side.includes("bottom") ? -part : 0,
    ];
  }

  async function load(url) {
    const language = document.documentElement.lang;
    const answer = await fetch(language === "en" ? url : `${url}${url.includes("?") ? "&" : "?"}lang=${language}`, {
      signal: AbortSignal.timeout(15000),
    });
    const found = await answer.json();
    if (!answer.ok) {
      throw new Error(found.error);
    }
    return found;
  }

  const PLAIN = { tiles: [], relief: null, susceptibility: null }; // ground with coordinates and scale alone
  // without the feature `maps`, show what there is
  const loadMap = (url, without = PLAIN) =>
    "maps" in document.documentElement.dataset ? load(url) : Promise.resolve(without);

  // ---- the library ------------------------------------------------------------------------------
  const canDraw = () => {
    try {
      return Boolean(document.createElement("canvas").getContext("webgl2"));
    } catch {
      return false;
    }
  };
  const fetchPart = (tag, name) =>
    new Promise((done, failed) => {
      const part = document.createElement(tag);
      if (tag === "link") {
        part.rel = "stylesheet";
        part.href = `/vendor/${name}${version}`;
      } else {
        part.src = `/vendor/${name}${version}`;
      }
      part.onload = done;
      part.onerror = () => failed(new Error(name));
      document.head.append(part);
    });
  let tileReader = null;
  async function fetchLibrary(withTiles) {
    if (window.maplibregl && (tileReader || !withTiles)) {
      return;
    }
    const [library] = await Promise.all([
      import(`/vendor/maplibre-gl.mjs${version}`),
      fetchPart("link", "maplibre-gl.css"),
      withTiles && fetchPart("script", "pmtiles.js"),
    ]);
    window.maplibregl = library;
    library.setWorkerUrl(`/vendor/maplibre-gl-worker.mjs${version}`);
    if (!withTiles) {
      return;
    }
    tileReader = new pmtiles.Protocol({ metadata: true });
    maplibregl.addProtocol("pmtiles", tileReader.tile);
  }
  // begins once the page stands and the map is near what is seen; again with the next refresh where a line was slow
  const TRIES = 5;
  function start(holder, begin) {
    let tried = 0;
    const attempt = () =>
      begin().catch((error) => {
        console.info(`no map: ${error.message}`);
        if (++tried < TRIES) {
          document.addEventListener("refreshed", attempt, { once: true });
        }
      });
    near(holder).then(attempt);
  }
  const near = (holder) =>
    new Promise((done) => {
      const watch = new IntersectionObserver(
        (entries) => {
          if (!entries.some((entry) => entry.isIntersecting)) {
            return;
          }
          watch.disconnect();
          (window.requestIdleCallback ?? setTimeout)(() => done());
        },
        { rootMargin: "200px" },
      );
      if (document.readyState === "complete") {
        watch.observe(holder);
      } else {
        addEventListener("load", () => watch.observe(holder));
      }
    });

  // ---- marks: drawn when a style first asks for them, named `kind|...` --------------------------
  const RATIO = 2;
  const SHAPES = {
    // corners of the mark of a level, and how large it is
    0: [0, 7],
    u: [0, 7],
    b: [3, 10],
    1: [3, 10],
    2: [4, 10],
    3: [6, 10],
    4: [8, 11],
    control: [4, 8],
  };
  function outline(pen, corners, r, turn = 0) {
    pen.beginPath();
    if (!corners) {
      pen.arc(0, 0, r, 0, 2 * Math.PI);
    } else {
      for (let k = 0; k < corners; k++) {
        const angle = (2 * Math.PI * k) / corners - Math.PI / 2 + turn;
        pen.lineTo(r * Math.cos(angle), r * Math.sin(angle));
      }
    }
    pen.closePath();
  }
  function paint(id) {
    const [kind, a, b, c] = id.split("|");
    const canvas = document.createElement("canvas");
    const pen = canvas.getContext("2d", { willReadFrequently: true });
    const isControl = kind === "station" && a === "control" && (b === "0" || b === "u");
    const [corners, r] = SHAPES[isControl ? "control" : b] ?? SHAPES.u;
    const side = 2 * (r + (kind === "group" ? 8 : 5));
    const wide = kind === "arrow" ? 20 : side;
    const high = kind === "arrow" ? Number(a) + 4 : side;
    canvas.width = wide * RATIO;
    canvas.height = high * RATIO;
    pen.scale(RATIO, RATIO);
    pen.lineJoin = "round";
    pen.lineCap = "round";
    if (kind === "arrow") {
      for (const [width, colour] of [
        [6, css("--panel")],
        [2.6, css("--text")],
      ]) {
        pen.strokeStyle = colour;
        pen.lineWidth = width;
        pen.beginPath();
        pen.moveTo(10, high - 2);
        pen.lineTo(10, 5);
        pen.moveTo(5, 11);
        pen.lineTo(10, 4);
        pen.lineTo(15, 11);
        pen.stroke();
      }
    } else {
      pen.translate(side / 2, side / 2);
      const turn = isControl ? Math.PI / 4 : 0;
      for (const [grow, colour] of [
        [4, css("--panel")],
        [2, css("--text")],
      ]) {
        outline(pen, corners, r + grow, turn);
        pen.fillStyle = colour;
        pen.fill();
      }
      outline(pen, corners, r, turn);
      pen.fillStyle =
        b === "u" ? css("--fill-u") : b === "0" ? css(isControl ? "--panel" : "--lv-0") : css(`--fill-${b}`);
      pen.fill();
      if (kind === "group") {
        outline(pen, corners, r + 5, turn);
        pen.strokeStyle = css("--text");
        pen.lineWidth = 2;
        pen.stroke();
      }
      if (c === "bad") {
        pen.strokeStyle = css("--panel");
        pen.lineWidth = 5;
        for (let k = 0; k < 2; k++) {
          pen.beginPath();
          pen.moveTo(-4, -4);
          pen.lineTo(4, 4);
          pen.moveTo(4, -4);
          pen.lineTo(-4, 4);
          pen.stroke();
          pen.strokeStyle = css("--flag");
          pen.lineWidth = 2.5;
        }
      }
    }
    return pen.getImageData(0, 0, canvas.width, canvas.height);
  }
  const isMark = (id) => /^(station|site|group|arrow)\|/.test(id);

  // ---- the ground -------------------------------------------------------------------------------
  const plain = (text) => new DOMParser().parseFromString(String(text ?? ""), "text/html").body.textContent.trim();
  async function readGround(ground) {
    const found = [];
    for (const one of [...ground.tiles, ...(ground.relief ? [{ name: "relief", url: ground.relief }] : [])]) {
      try {
        const archive = new pmtiles.PMTiles(location.origin + one.url);
        tileReader.add(archive);
        const [header, metadata] = [await archive.getHeader(), await archive.getMetadata()];
        found.push({
          id: one.name,
          url: `pmtiles://${location.origin}${one.url}`,
          isVector: header.tileType === 1,
          isRelief: one.name === "relief",
          bounds: [header.minLon, header.minLat, header.maxLon, header.maxLat],
          layers: (metadata?.vector_layers ?? []).map((layer) => layer.id),
          name: plain(metadata?.name) || one.name,
          by: plain(metadata?.attribution),
        });
      } catch (error) {
        console.info(`${one.name}: ${error.message}`);
      }
    }
    return found;
  }
  const WATER = /water|ocean|sea|lake|river/i;
  const ROAD = /road|transport|highway|street|path|track/i;
  const BORDER = /bound|admin/i;
  const BUILT = /build|structure/i;
  const GREEN = /land|park|wood|forest|green|earth|nature/i;
  const NAMED = /place|poi|label|name/i;
  // any vector tiles: drawn by what the names of their layers say
  function styleVector(ground) {
    const found = [];
    for (const layer of ground.layers) {
      const common = { source: ground.id, "source-layer": layer };
      const id = `ground:${ground.id}:${layer}`;
      const area = ["==", ["geometry-type"], "Polygon"];
      const line = ["==", ["geometry-type"], "LineString"];
      if (NAMED.test(layer)) {
        continue;
      }
      if (WATER.test(layer) || BUILT.test(layer) || GREEN.test(layer)) {
        const colour = WATER.test(layer) ? css("--rain") : BUILT.test(layer) ? css("--muted") : css("--lv-0");
        found.push({
          ...common,
          id: `${id}:area`,
          type: "fill",
          filter: area,
          paint: { "fill-color": colour, "fill-opacity": WATER.test(layer) ? 0.35 : BUILT.test(layer) ? 0.3 : 0.08 },
        });
      }
      const colour = WATER.test(layer) ? css("--rain") : css("--muted");
      found.push({
        ...common,
        id: `${id}:line`,
        type: "line",
        filter: line,
        paint: {
          "line-color": colour,
          "line-width": ROAD.test(layer) ? 1.6 : 0.8,
          "line-opacity": 0.8,
          ...(BORDER.test(layer) ? { "line-dasharray": [4, 3] } : {}),
        },
      });
    }
    for (const layer of ground.layers.filter((name) => NAMED.test(name))) {
      found.push({
        id: `ground:${ground.id}:${layer}`,
        source: ground.id,
        "source-layer": layer,
        type: "symbol",
        filter: ["==", ["geometry-type"], "Point"],
        layout: { "text-field": ["coalesce", ["get", "name"], ""], "text-font": FONT, "text-size": 12 },
        paint: { "text-color": css("--muted"), "text-halo-color": css("--ground"), "text-halo-width": 1.5 },
      });
    }
    return found;
  }
  function styleGround(grounds) {
    const sources = {};
    const layers = [{ id: "ground", type: "background", paint: { "background-color": css("--ground") } }];
    const dark =
      css("color-scheme") === "dark" ||
      getComputedStyle(document.body)
        .color.match(/\d+/g)
        .slice(0, 3)
        .reduce((sum, x) => sum + Number(x), 0) > 380;
    for (const ground of grounds) {
      sources[ground.id] = {
        type: ground.isVector ? "vector" : "raster",
        url: ground.url,
        ...(ground.isVector ? {} : { tileSize: ground.isRelief ? 512 : 256 }),
      };
      if (ground.isVector) {
        layers.push(...styleVector(ground));
      } else {
        layers.push({
          id: `ground:${ground.id}`,
          type: "raster",
          source: ground.id,
          paint: {
            "raster-opacity": ground.isRelief ? 0.6 : 0.85,
            "raster-brightness-max": dark ? 0.55 : 1,
            "raster-saturation": -0.4,
            "raster-fade-duration": 0,
          },
        });
      }
    }
    return { sources, layers };
  }

  // ---- graticule: the coordinates of the ground, also where there is nothing else ---------------
  function drawGraticule(bounds, width) {
    const [west, south, east, north] = bounds;
    const span = (east - west) * Math.min(1, 400 / width);
    const power = 10 ** Math.floor(Math.log10(span));
    const step = [0.2, 0.5, 1, 2].map((k) => k * power).find((k) => span / k <= 4) ?? 2 * power;
    const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    const features = [];
    const spell = (value, [plus, minus]) => `${Math.abs(value).toFixed(digits)}° ${value < 0 ? minus : plus}`;
    const add = (coordinates, text, at, anchor) => {
      features.push({ type: "Feature", geometry: { type: "LineString", coordinates }, properties: {} });
      features.push({ type: "Feature", geometry: { type: "Point", coordinates: at }, properties: { text, anchor } });
    };
    for (let k = Math.ceil(west / step); k * step <= east; k++) {
      add(
        [
          [k * step, south],
          [k * step, north],
        ],
        spell(k * step, ["E", "W"]),
        [k * step, north],
        "top",
      );
    }
    for (let k = Math.ceil(south / step); k * step <= north; k++) {
      add(
        [
          [west, k * step],
          [east, k * step],
        ],
        spell(k * step, ["N", "S"]),
        [west, k * step],
        "left",
      );
    }
    return { type: "FeatureCollection", features };
  }
  const graticuleLayers = () => [
    {
      id: "graticule",
      type: "line",
      source: "graticule",
      filter: ["==", ["geometry-type"], "LineString"],
      paint: { "line-color": css("--text"), "line-opacity": 0.16, "line-width": 1 },
    },
    {
      id: "graticule-text",
      type: "symbol",
      source: "graticule",
      filter: ["==", ["geometry-type"], "Point"],
      layout: {
        "text-field": ["get", "text"],
        "text-anchor": ["get", "anchor"],
        "text-font": FONT,
        "text-size": 10,
        "text-padding": 1,
        "text-offset": [0.3, 0.3],
      },
      paint: { "text-color": css("--muted"), "text-halo-color": css("--ground"), "text-halo-width": 1.5 },
    },
  ];

  // ---- a map ------------------------------------------------------------------------------------
  /**
   * Opens a map in `view`.
   *
   * `aside`: pixels left and right of `bounds`, for names; `ground`: what the server has for below
   * it; `bounds`: first view; `about`: what a screen reader says of it;
   * `maxZoom`: nearest view; `style()`: sources and layers above the ground, and `hides(id)`: which
   * are left out; both asked again when the theme changes.
   */
  async function open(view, { ground, bounds, about, style, hides = () => false, aside = 44, maxZoom = 20 }) {
    await fetchLibrary(ground.tiles.length > 0 || ground.relief);
    const grounds = tileReader ? await readGround(ground) : [];
    let graticule = NOTHING;
    const build = () => {
      const below = styleGround(grounds);
      const above = style();
      const layers = [...below.layers, ...graticuleLayers(), ...above.layers];
      return {
        version: 8,
        sources: { ...below.sources, graticule: { type: "geojson", data: graticule }, ...above.sources },
        layers: layers.map((layer) =>
          hides(layer.id) ? { ...layer, layout: { ...layer.layout, visibility: "none" } } : layer,
        ),
      };
    };
    const map = new maplibregl.Map({
      container: view,
      style: build(),
      bounds,
      fitBoundsOptions: { padding: { top: 44, bottom: 44, left: aside, right: aside }, maxZoom: 18 },
      maxZoom,
      attributionControl: false,
      dragRotate: false,
      pitchWithRotate: false,
      touchPitch: false,
      maxPitch: 0,
      cooperativeGestures: true,
      fadeDuration: 0,
      locale: {
        "Map.Title": about,
        "NavigationControl.ZoomIn": tr("Zoom in"),
        "NavigationControl.ZoomOut": tr("Zoom out"),
        "ScaleControl.Meters": "m",
        "ScaleControl.Kilometers": "km",
        "CooperativeGesturesHandler.WindowsHelpText": tr("Ctrl and the wheel zoom the map"),
        "CooperativeGesturesHandler.MacHelpText": tr("⌘ and the wheel zoom the map"),
        "CooperativeGesturesHandler.MobileHelpText": tr("Two fingers move the map"),
      },
    });
    map.touchZoomRotate.disableRotation();
    map.keyboard.disableRotation();
    map.addControl(new maplibregl.NavigationControl({ showCompass: false }), "top-right");
    map.addControl(new maplibregl.ScaleControl({ maxWidth: 120 }), "bottom-left");
    map.setMissingStyleImageResolver((id) => {
      if (isMark(id) && !map.hasImage(id)) {
        map.addImage(id, paint(id), { pixelRatio: RATIO });
      }
    });

    const north = Object.assign(document.createElement("span"), {
      className: "mapnorth",
      textContent: "↑ N",
      title: tr("North is up"),
    });
    const place = Object.assign(document.createElement("output"), { className: "mapplace", ariaLive: "off" });
    view.append(north, place);
    const say = ({ lng, lat }) => {
      const latitude = `${Math.abs(lat).toFixed(5)}° ${lat < 0 ? "S" : "N"}`;
      const longitude = `${Math.abs(lng).toFixed(5)}° ${lng < 0 ? "W" : "E"}`;
      place.textContent = `${latitude}, ${longitude}`;
    };
    const draw = () => {
      const b = map.getBounds();
      graticule = drawGraticule([b.getWest(), b.getSouth(), b.getEast(), b.getNorth()], view.clientWidth);
      map.getSource("graticule")?.setData(graticule);
      say(map.getCenter());
    };
    map.on("moveend", draw);
    map.on("mousemove", (event) => say(event.lngLat));
    map.on("mouseout", () => say(map.getCenter()));
    const restyle = () => {
      for (const id of map.listImages().filter(isMark)) {
        map.removeImage(id);
      }
      map.setStyle(build(), { diff: false });
    };
    document.addEventListener("themechange", restyle);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", restyle);
    await new Promise((done, failed) => {
      map.once("load", done);
      map.once("error", ({ error }) => {
        if (!map.isStyleLoaded()) {
          failed(error);
        }
      });
    });
    draw();
    window.SlopewardMap.shown = map;
    view.dataset.drawn = "";
    return { map, grounds, restyle };
  }

  // tiles of a scene as the server describes them; null where there are none
  const tiled = (layer) =>
    layer
      ? {
          type: "raster",
          tiles: [location.origin + layer.url],
          tileSize: layer.tile_size,
          minzoom: layer.zooms[0],
          maxzoom: layer.zooms[1],
          bounds: layer.bounds,
        }
      : null;

  return { canDraw, tiled, start, open, load, loadMap, css, levelClass, NOTHING, PLAIN, names };
})();
