// node-smpp, driven by lines of JSON:  node smpp_node.js client PORT [CA]  |  node smpp_node.js server [CERTIFICATE KEY]
//
// In:   {"id": 1, "do": "submit_sm", "with": {...}}     a request; octets are written {"hex": "..."}
//       {"id": 2, "set": {"statuses": [88], ...}}       how a server, or a client's deliver_sm_resp, answers
// Out:  {"id": 1, "pdu": {...}}                         the response to it
//       {"event": "submit_sm", "pdu": {...}}            what the peer asked; it is answered in here
//       {"event": "ready", "port": 2775}, {"event": "close"}, {"event": "error", "why": "..."}
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const readline = require('node:readline');
const smpp = require(path.join(__dirname, '../../build/smpp/node_modules/smpp'));

const [role, ...rest] = process.argv.slice(2);
const set = { statuses: [], password: null, receipts: true };
const print = (line) => process.stdout.write(JSON.stringify(line, octets) + '\n');
let session = null; // the client's, or that of the bind which came last
let ids = 0;

function octets(key, value) {
  return value && value.type === 'Buffer' ? { hex: Buffer.from(value.data).toString('hex') } : value;
}

function fields(value) {
  if (value === null || typeof value !== 'object') return value;
  if (typeof value.hex === 'string') return Buffer.from(value.hex, 'hex');
  if (Array.isArray(value)) return value.map(fields);
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, fields(one)]));
}

function receipt(to, pdu, id) {
  to.deliver_sm({
    source_addr: pdu.destination_addr,
    destination_addr: pdu.source_addr,
    esm_class: smpp.ESM_CLASS.MC_DELIVERY_RECEIPT,
    short_message: `id:${id} sub:001 dlvrd:001 submit date:2611251430 done date:2611251430 stat:DELIVRD err:000 text:`,
    receipted_message_id: id,
    message_state: smpp.MESSAGE_STATE.DELIVERED,
  }, (answer) => print({ event: 'deliver_sm_resp', pdu: answer }));
}

function answer(to, pdu) {
  print({ event: pdu.command, pdu });
  const status = set.statuses.length && /^(submit|data|deliver)/.test(pdu.command) ? set.statuses.shift() : 0;
  if (/^bind_/.test(pdu.command)) {
    const known = set.password === null || pdu.password === set.password;
    to.send(pdu.response(known ? { system_id: 'node-smpp', sc_interface_version: 0x34 } : { command_status: 0x0e }));
    session = to;
  } else if (status) {
    to.send(pdu.response({ command_status: status }));
  } else if (/^(submit|data)/.test(pdu.command)) {
    const id = `node-${++ids}`;
    to.send(pdu.response({ message_id: id }));
    if (set.receipts && (pdu.registered_delivery & 3) === 1) receipt(to, pdu, id);
  } else if (pdu.command === 'query_sm') {
    to.send(pdu.response({ message_id: pdu.message_id, message_state: smpp.MESSAGE_STATE.DELIVERED }));
  } else {
    to.send(pdu.response());
  }
  if (pdu.command === 'unbind') to.close();
}

function attach(to) {
  to.on('pdu', (pdu) => pdu.isResponse() || answer(to, pdu));
  to.on('close', () => print({ event: 'close' }));
  to.on('error', (error) => print({ event: 'error', why: String(error.code || error.message) }));
}

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const { id, set: changed, do: command, with: given } = JSON.parse(line);
  if (changed) {
    Object.assign(set, changed);
    print({ id, pdu: null });
  } else {
    session[command](fields(given || {}), (pdu) => print({ id, pdu }));
  }
}).on('close', () => process.exit(0));

if (role === 'client') {
  const [port, ca] = rest;
  const options = { host: '127.0.0.1', port: Number(port) };
  if (ca) Object.assign(options, { tls: true, ca: fs.readFileSync(ca), rejectUnauthorized: true });
  session = smpp.connect(options);
  attach(session);
  session.on(ca ? 'secureConnect' : 'connect', () => print({ event: 'ready', port: Number(port) }));
} else {
  const [certificate, key] = rest;
  const options = certificate ? { cert: fs.readFileSync(certificate), key: fs.readFileSync(key) } : {};
  const server = smpp.createServer(options, attach);
  server.listen(0, '127.0.0.1', () => print({ event: 'ready', port: server.address().port }));
}
