// Sends push messages with the npm package web-push, as an application server written in JavaScript does.
//
// Reads jobs from standard input, one JSON object a line, and answers each with one JSON object a line:
// see tests/clients/README.md for both.

import { createECDH } from 'node:crypto';
import https from 'node:https';
import net from 'node:net';
import readline from 'node:readline';

import webpush from 'web-push';

const TIMEOUT_MS = 30_000;

// The package speaks to https: endpoints only, and takes its sockets from an https.Agent. This one hands out
// plain sockets, so that the package's own code makes the whole request to a service on loopback.
class PlainAgent extends https.Agent {
  createConnection(options, connected) {
    return net.createConnection({ host: options.host, port: options.port }, connected);
  }
}

function publicKey(privateKey) {
  const ecdh = createECDH('prime256v1');
  ecdh.setPrivateKey(privateKey, 'base64url');
  return ecdh.getPublicKey('base64url');
}

async function send(job) {
  const subscription = { endpoint: job.endpoint, keys: { p256dh: job.p256dh, auth: job.auth } };
  const options = { TTL: job.ttl, contentEncoding: job.encoding, timeout: TIMEOUT_MS };
  if (job.endpoint.startsWith('http:')) options.agent = new PlainAgent();
  if (job.topic) options.topic = job.topic;
  if (job.urgency) options.urgency = job.urgency;
  if (job.receipt) options.headers = { Prefer: 'respond-async' };
  if (job.vapid_private) {
    options.vapidDetails = {
      subject: job.subject,
      publicKey: publicKey(job.vapid_private),
      privateKey: job.vapid_private,
    };
  }
  try {
    const payload = Buffer.from(job.payload_base64, 'base64');
    const response = await webpush.sendNotification(subscription, payload, options);
    return { status: response.statusCode, location: response.headers.location };
  } catch (refused) {
    if (!(refused instanceof webpush.WebPushError)) throw refused;
    return { status: refused.statusCode, body: refused.body };
  }
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  const answer = await send(JSON.parse(line)).catch((fault) => ({ error: String(fault) }));
  console.log(JSON.stringify(answer));
}
