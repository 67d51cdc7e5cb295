// Send one message by nodemailer and print what it tells an application, as JSON:
//   node nodemailer.js PORT SENDER RECIPIENT...
'use strict';

const path = require('node:path');
const nodemailer = require(path.join(__dirname, '../../build/nodemailer/node_modules/nodemailer'));

const [port, sender, ...recipients] = process.argv.slice(2);
const transport = nodemailer.createTransport({ host: '127.0.0.1', port: Number(port), ignoreTLS: true });
const message = {
  from: `"Örnek Market" <${sender}>`,
  to: recipients,
  subject: 'Haftanın fırsatları',
  text: 'Bu hafta çay ve şekerde %20 indirim var.\n.nokta ile başlayan satır\n',
  html: '<html><body><p>Bu hafta çay ve şekerde %20 indirim var.</p></body></html>',
};

transport.sendMail(message, (error, info) => {
  const told = error
    ? { failed: error.code, code: error.responseCode, response: error.response, rejected: error.rejected || [] }
    : { accepted: info.accepted, rejected: info.rejected, response: info.response };
  const errors = (error || info).rejectedErrors || [];
  told.errors = errors.map((one) => ({ recipient: one.recipient, code: one.responseCode, response: one.response }));
  process.stdout.write(JSON.stringify(told));
  transport.close();
});
