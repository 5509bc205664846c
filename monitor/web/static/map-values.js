// Values that all maps share: data without the feature `maps`, placement of labels.
"use strict";
window.SlopewardMap = (() => {
  const { classOfLevel, fetchJson, readColour } = window.SlopewardPage;
  const FONT = ["Noto Sans Bold"];
  const EMPTY = { type: "FeatureCollection", features: [] };
  // Ground with coordinates and a scale only.
  const NO_GROUND = { tiles: [], relief: null, susceptibility: null };
  const ANCHORS = ["left", "right", "top", "bottom", "top-left", "top-right", "bottom-left", "bottom-right"];

  function offsetOf(anchor, distance) {
    const part = anchor.includes("-") ? distance * Math.SQRT1_2 : distance;
    let x = 0;
    let y = 0;
    if (anchor.includes("left")) {
      x = part;
    } else if (anchor.includes("right")) {
      x = -part;
    }
    if (anchor.includes("top")) {
      y = part;
    } else if (anchor.includes("bottom")) {
      y = -part;
    }
    return [x, y];
  }

  /**
   * Return the layout of labels. A label goes where it covers no mark and no other label, first
   * close to its mark and then further away. Without such a place it covers another one, because a
   * station without a name is worse.
   */
  function placeLabels(distance) {
    const distances = [distance, distance + 1.2, distance + 2.4];
    const offsets = distances.flatMap((far) => ANCHORS.flatMap((anchor) => [anchor, offsetOf(anchor, far)]));
    return {
      "text-font": FONT,
      "text-size": 13,
      "text-justify": "auto",
      "text-overlap": "always",
      "text-variable-anchor-offset": offsets,
    };
  }

  /** Fetch data of the feature `maps`. Without the feature, return what replaces it. */
  function fetchOfMaps(url, replacement = NO_GROUND) {
    const hasFeature = "maps" in document.documentElement.dataset;
    return hasFeature ? fetchJson(url) : Promise.resolve(replacement);
  }

  return { EMPTY, FONT, NO_GROUND, classOfLevel, fetchJson, fetchOfMaps, placeLabels, readColour };
})();
