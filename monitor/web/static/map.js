// Open a map: load the library when the map is near the screen, and add controls, marks and graticule.
//
// maplibre-gl 6.17.0 and pmtiles 4.5.0 of npm are unchanged in vendor/.
"use strict";
(() => {
  const { EMPTY, MARK_PIXEL_RATIO, describeGround, drawMark, isMark } = SlopewardMap;
  const { listGraticuleLayers, makeGraticule, styleGround } = SlopewardMap;
  const version = new URL(document.currentScript.src).search;
  const MOST_ATTEMPTS = 5;
  const DEFAULT_MARGIN_PX = 44;
  const FIRST_ZOOM = 18;
  let tileReader = null;

  function canDraw() {
    try {
      return Boolean(document.createElement("canvas").getContext("webgl2"));
    } catch {
      return false;
    }
  }

  // ---- library ----------------------------------------------------------------------------------
  function loadElement(element, name) {
    return new Promise((resolve, reject) => {
      element.onload = resolve;
      element.onerror = () => reject(new Error(name));
      document.head.append(element);
    });
  }

  function loadStyle(name) {
    const link = Object.assign(document.createElement("link"), { rel: "stylesheet" });
    link.href = `/vendor/${name}${version}`;
    return loadElement(link, name);
  }

  function loadScript(name) {
    const script = document.createElement("script");
    script.src = `/vendor/${name}${version}`;
    return loadElement(script, name);
  }

  async function loadLibrary(needsTiles) {
    if (!window.maplibregl) {
      const [library] = await Promise.all([import(`/vendor/maplibre-gl.mjs${version}`), loadStyle("maplibre-gl.css")]);
      library.setWorkerUrl(`/vendor/maplibre-gl-worker.mjs${version}`);
      window.maplibregl = library;
    }
    if (needsTiles && !tileReader) {
      await loadScript("pmtiles.js");
      tileReader = new pmtiles.Protocol({ metadata: true });
      maplibregl.addProtocol("pmtiles", tileReader.tile);
    }
  }

  // ---- when a map is drawn ----------------------------------------------------------------------
  function waitUntilNear(holder) {
    return new Promise((resolve) => {
      const observer = new IntersectionObserver(
        (entries) => {
          if (!entries.some((entry) => entry.isIntersecting)) {
            return;
          }
          observer.disconnect();
          const whenIdle = window.requestIdleCallback ?? setTimeout;
          whenIdle(() => resolve());
        },
        { rootMargin: "200px" },
      );
      if (document.readyState === "complete") {
        observer.observe(holder);
      } else {
        addEventListener("load", () => observer.observe(holder));
      }
    });
  }

  /**
   * Draw a map when it comes near the screen, after the page itself. If a request fails, try again
   * with the next refresh of the page.
   */
  function drawWhenNear(holder, draw) {
    let attempts = 0;
    const attempt = () =>
      draw().catch((error) => {
        console.info(`no map: ${error.message}`);
        attempts += 1;
        if (attempts < MOST_ATTEMPTS) {
          document.addEventListener("refreshed", attempt, { once: true });
        }
      });
    waitUntilNear(holder).then(attempt);
  }

  // ---- a map ------------------------------------------------------------------------------------
  function makeMap(view, style, { bounds, margin, maxZoom, label }) {
    const map = new maplibregl.Map({
      container: view,
      style,
      bounds,
      fitBoundsOptions: {
        padding: { top: DEFAULT_MARGIN_PX, bottom: DEFAULT_MARGIN_PX, left: margin, right: margin },
        maxZoom: FIRST_ZOOM,
      },
      maxZoom,
      attributionControl: false,
      dragRotate: false,
      pitchWithRotate: false,
      touchPitch: false,
      maxPitch: 0,
      cooperativeGestures: true,
      fadeDuration: 0,
      locale: {
        "Map.Title": label,
        "NavigationControl.ZoomIn": tr("Zoom in"),
        "NavigationControl.ZoomOut": tr("Zoom out"),
        "ScaleControl.Meters": "m",
        "ScaleControl.Kilometers": "km",
        "CooperativeGesturesHandler.WindowsHelpText": tr("Ctrl and the wheel zoom the map"),
        "CooperativeGesturesHandler.MacHelpText": tr("⌘ and the wheel zoom the map"),
        "CooperativeGesturesHandler.MobileHelpText": tr("Two fingers move the map"),
      },
    });
    // North stays up.
    map.touchZoomRotate.disableRotation();
    map.keyboard.disableRotation();
    map.addControl(new maplibregl.NavigationControl({ showCompass: false }), "top-right");
    map.addControl(new maplibregl.ScaleControl({ maxWidth: 120 }), "bottom-left");
    map.setMissingStyleImageResolver((id) => {
      if (isMark(id) && !map.hasImage(id)) {
        map.addImage(id, drawMark(id), { pixelRatio: MARK_PIXEL_RATIO });
      }
    });
    return map;
  }

  function addPosition(view, map) {
    const north = document.createElement("span");
    north.className = "mapnorth";
    north.textContent = "↑ N";
    north.title = tr("North is up");
    const position = document.createElement("output");
    position.className = "mapplace";
    position.ariaLive = "off";
    view.append(north, position);
    const show = ({ lng, lat }) => {
      const latitude = `${Math.abs(lat).toFixed(5)}° ${lat < 0 ? "S" : "N"}`;
      const longitude = `${Math.abs(lng).toFixed(5)}° ${lng < 0 ? "W" : "E"}`;
      position.textContent = `${latitude}, ${longitude}`;
    };
    const showCentre = () => show(map.getCenter());
    map.on("mousemove", (event) => show(event.lngLat));
    map.on("mouseout", showCentre);
    map.on("moveend", showCentre);
    showCentre();
  }

  function waitUntilLoaded(map) {
    return new Promise((resolve, reject) => {
      map.once("load", resolve);
      map.once("error", ({ error }) => {
        if (!map.isStyleLoaded()) {
          reject(error);
        }
      });
    });
  }

  /**
   * Open a map in an element. Return it with its grounds, and a function that builds its style again.
   *
   * Options: `ground`: tiles and relief of the server; `bounds`: the first view; `label`: for screen
   * readers; `style()`: sources and layers above the ground; `isHidden(id)`: whether a layer is left
   * out; `margin`: pixels left and right of `bounds` for labels; `maxZoom`: the nearest view.
   */
  async function openMap(view, { ground, bounds, label, style, isHidden = () => false, margin, maxZoom = 20 }) {
    await loadLibrary(ground.tiles.length > 0 || ground.relief);
    const grounds = tileReader ? await describeGround(tileReader, ground) : [];
    let graticule = EMPTY;
    const hideLayer = (layer) => ({ ...layer, layout: { ...layer.layout, visibility: "none" } });
    const buildStyle = () => {
      const below = styleGround(grounds);
      const above = style();
      const layers = [...below.layers, ...listGraticuleLayers(), ...above.layers];
      return {
        version: 8,
        sources: { ...below.sources, graticule: { type: "geojson", data: graticule }, ...above.sources },
        layers: layers.map((layer) => (isHidden(layer.id) ? hideLayer(layer) : layer)),
      };
    };
    const map = makeMap(view, buildStyle(), { bounds, margin: margin ?? DEFAULT_MARGIN_PX, maxZoom, label });
    const drawGraticule = () => {
      const box = map.getBounds();
      const edges = [box.getWest(), box.getSouth(), box.getEast(), box.getNorth()];
      graticule = makeGraticule(edges, view.clientWidth);
      map.getSource("graticule")?.setData(graticule);
    };
    const restyle = () => {
      for (const id of map.listImages().filter(isMark)) {
        map.removeImage(id);
      }
      map.setStyle(buildStyle(), { diff: false });
    };
    addPosition(view, map);
    map.on("moveend", drawGraticule);
    document.addEventListener("themechange", restyle);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", restyle);
    await waitUntilLoaded(map);
    drawGraticule();
    SlopewardMap.shown = map;
    view.dataset.drawn = "";
    return { map, grounds, restyle };
  }

  function showPointer(map, layers) {
    for (const layer of layers) {
      map.on("mouseenter", layer, () => {
        map.getCanvas().style.cursor = "pointer";
      });
      map.on("mouseleave", layer, () => {
        map.getCanvas().style.cursor = "";
      });
    }
  }

  Object.assign(SlopewardMap, { canDraw, drawWhenNear, openMap, showPointer });
})();
