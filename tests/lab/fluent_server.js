// A receiver of Fluentd's forward protocol that is not of this project: npm's @fluent-org/logger.
// fluent_server.js SOCKET OUTPUT: each entry becomes a line of JSON in OUTPUT, "ready" stands before.
const fs = require("fs");
const { FluentServer } = require("@fluent-org/logger");

const [socket, output] = process.argv.slice(2);
const out = fs.openSync(output, "a");
const server = new FluentServer({ listenOptions: { path: socket } });

server.on("entry", (tag, time, record) => {
    const line = { tag, seconds: time.seconds ?? time.epoch ?? time, record: record.record,
                   event: record.event, domain: record.domain };
    fs.writeSync(out, JSON.stringify(line) + "\n");
});
server.listen().then(() => fs.writeSync(out, '"ready"\n'));
