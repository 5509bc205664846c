// Switch push messages on for this device.

const box = document.getElementById("push-here");
const worker = navigator.serviceWorker;

/** Show the paragraph for a state: off, on, refused, unable or failed. */
const showState = (state) => {
  for (const paragraph of box.querySelectorAll("[data-when]")) {
    paragraph.hidden = paragraph.dataset.when !== state;
  }
};

/** Decode base64url (RFC 4648, section 5), in which servers give their key. */
const decodeBase64Url = (text) => {
  const bytes = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(bytes, (character) => character.charCodeAt(0));
};

/** Encode as base64url without padding. @param {ArrayBuffer} buffer */
const encodeBase64Url = (buffer) => {
  const text = btoa(String.fromCharCode(...new Uint8Array(buffer)));
  return text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
};

/** Return the digest by which the server lists a subscription. */
const computeDigest = async (subscription) => {
  const endpoint = new TextEncoder().encode(subscription.endpoint);
  return encodeBase64Url(await crypto.subtle.digest("SHA-256", endpoint));
};

/** Return the state of this device. */
const findState = async () => {
  if (Notification.permission === "denied") {
    return "refused";
  }
  const { pushManager } = await worker.ready;
  const subscription = await pushManager.getSubscription();
  if (!subscription) {
    return "off";
  }
  const listedDigests = box.dataset.known.split(" ");
  return listedDigests.includes(await computeDigest(subscription)) ? "on" : "off";
};

/** Return a subscription with the key of this service. */
const subscribe = async () => {
  const { pushManager } = await worker.ready;
  const previous = await pushManager.getSubscription();
  if (previous) {
    const previousKey = previous.options.applicationServerKey ?? new ArrayBuffer(0);
    if (encodeBase64Url(previousKey) !== box.dataset.key) {
      // A subscription with the key of another service cannot be changed.
      await previous.unsubscribe();
    }
  }
  return pushManager.subscribe({
    userVisibleOnly: true,
    applicationServerKey: decodeBase64Url(box.dataset.key),
  });
};

const storeSubscription = async (subscription) => {
  const body = new URLSearchParams({
    endpoint: subscription.endpoint,
    p256dh: encodeBase64Url(subscription.getKey("p256dh")),
    auth: encodeBase64Url(subscription.getKey("auth")),
    csrf: box.dataset.csrf,
  });
  const answer = await fetch("/account/devices", { method: "POST", body });
  if (!answer.ok) {
    throw new Error(String(answer.status));
  }
};

const switchOn = async () => {
  try {
    if ((await Notification.requestPermission()) !== "granted") {
      showState("refused");
      return;
    }
    await storeSubscription(await subscribe());
    location.assign("/account");
  } catch {
    showState("failed");
  }
};

const start = async () => {
  if (!worker || !window.PushManager || !window.Notification) {
    showState("unable");
    return;
  }
  box.querySelector("button").addEventListener("click", switchOn);
  showState(await findState());
};

if (box) {
  start();
}
