// Registers the service worker; lists the pages that this device kept; switches push messages on
// this device on and off.
"use strict";
(() => {
  const worker = navigator.serviceWorker;
  if (worker && isSecureContext) {
    worker.register("/sw.js").catch(() => {
      /* a private window: nothing is kept */
    });
  }

  const list = document.getElementById("kept-pages");
  if (list && window.caches) {
    caches.open("pages").then(async (pages) => {
      for (const page of await pages.keys()) {
        const known = await pages.match(page);
        const item = document.createElement("li");
        const link = document.createElement("a");
        const said = new DOMParser().parseFromString(await known.text(), "text/html");
        link.href = new URL(page.url).pathname;
        link.textContent = said.title;
        item.append(link, ` ${new Date(Number(known.headers.get("X-Kept-At"))).toLocaleString()}`);
        list.append(item);
      }
    });
  }
  document.getElementById("again")?.addEventListener("click", () => location.reload());

  const box = document.getElementById("push-here");
  if (!box) {
    return;
  }
  const show = (id) => {
    for (const node of box.querySelectorAll("[data-when]")) {
      node.hidden = node.dataset.when !== id;
    }
  };
  if (!worker || !window.PushManager || !window.Notification) {
    show("unable");
    return;
  }
  const octets = (text) =>
    Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (sign) => sign.charCodeAt(0));
  const spell = (buffer) =>
    btoa(String.fromCharCode(...new Uint8Array(buffer)))
      .replaceAll("+", "-")
      .replaceAll("/", "_")
      .replaceAll("=", "");
  const look = async () => {
    const present = await (await worker.ready).pushManager.getSubscription();
    const known = present
      ? spell(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(present.endpoint)))
      : "";
    show(
      Notification.permission === "denied"
        ? "refused"
        : known && box.dataset.known.split(" ").includes(known)
          ? "on"
          : "off",
    );
  };
  const send = async (address, values) => {
    const form = new FormData();
    for (const [name, value] of Object.entries({ ...values, csrf: box.dataset.csrf })) {
      form.append(name, value);
    }
    const answer = await fetch(address, { method: "POST", body: new URLSearchParams(form) });
    if (!answer.ok) {
      throw new Error(String(answer.status));
    }
    location.assign("/account");
  };
  box.querySelector("button").addEventListener("click", async () => {
    try {
      if ((await Notification.requestPermission()) !== "granted") {
        show("refused");
        return;
      }
      const { pushManager } = await worker.ready;
      const before = await pushManager.getSubscription();
      if (before && spell(before.options.applicationServerKey ?? new ArrayBuffer(0)) !== box.dataset.key) {
        await before.unsubscribe();
      }
      const made = await pushManager.subscribe({
        userVisibleOnly: true,
        applicationServerKey: octets(box.dataset.key),
      });
      await send("/account/devices", {
        endpoint: made.endpoint,
        p256dh: spell(made.getKey("p256dh")),
        auth: spell(made.getKey("auth")),
      });
    } catch {
      show("failed");
    }
  });
  look();
})();
