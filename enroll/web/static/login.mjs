// A link from the console may bring the code behind #: it is not sent anywhere until somebody logs in.
const code = decodeURIComponent(location.hash.slice(1));
if (code) {
  document.querySelector("#code").value = code;
  history.replaceState(null, "", location.pathname);
}
