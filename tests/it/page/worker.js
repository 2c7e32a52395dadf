// Reports each event to the site's server. A worker whose path says "silent" shows nothing.

const scope = new URL(registration.scope).pathname;

function report(event) {
  return fetch('/events', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(event),
  });
}

function base64(octets) {
  let text = '';
  for (const octet of octets) text += String.fromCharCode(octet);
  return btoa(text);
}

async function pushed(data) {
  const octets = data ? new Uint8Array(data.arrayBuffer()) : null;
  if (!scope.includes('silent')) {
    const body = octets ? new TextDecoder().decode(octets) : '';
    await registration.showNotification('A push message', { body });
  }
  const notifications = await registration.getNotifications();
  const pages = await clients.matchAll({ type: 'window', includeUncontrolled: true });
  await report({
    kind: 'push',
    scope,
    payload: octets && base64(octets),
    shown: notifications.map((notification) => notification.body),
    pages: pages.length,
  });
}

addEventListener('push', (event) => event.waitUntil(pushed(event.data)));
addEventListener('pushsubscriptionchange', (event) => {
  event.waitUntil(report({ kind: 'subscription_change', scope }));
});
