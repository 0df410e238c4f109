// Asks before a page with work is left, remembers that the notice was read, and says that there is no microphone.
// In: `data` from browser.py.

const YEAR_SECONDS = 365 * 24 * 3600;
const NO_MICROPHONE = "No microphone was found. Plug one in and reload the page, or choose a file.";

const ask = (event) => event.preventDefault(); // which makes the browser ask in its own words

export default function ({ data, parentElement }) {
  if ("ask" in data) {
    window.onbeforeunload = data.ask ? ask : null;
    if (data.cookie)
      document.cookie = `${data.cookie}=1; path=${location.pathname}; max-age=${YEAR_SECONDS}; SameSite=Strict`;
  }
  if (data.microphone && navigator.mediaDevices?.enumerateDevices) {
    const advice = parentElement.querySelector("[data-part=advice]");
    const look = async () => {
      const devices = await navigator.mediaDevices.enumerateDevices();
      const isThere = devices.some(({ kind }) => kind === "audioinput");
      advice.hidden = isThere;
      advice.textContent = isThere ? "" : NO_MICROPHONE;
    };
    if (!advice.dataset.follows) navigator.mediaDevices.addEventListener("devicechange", look);
    advice.dataset.follows = "yes";
    look();
  }
}
