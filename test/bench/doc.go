// Command bench measures what the agent costs, on three real brokers and on
// this machine: a roll-out compared with the brokers' own time and with the
// documented procedure by hand, the probe's answer to a broker's death, and
// agents at rest. Then it measures what clients of several makes feel of roll-outs by
// several methods; with the argument clients it does only that, ROUNDS times.
//
// It owns docs/bench.json and the table between the bench markers in
// docs/performance.md and README.md, docs/clients.json, docs/clients.svg and the
// tables between the clients markers. It judges from the outside: by the
// processes' events, the probe ports, the clients' account, /proc and the
// brokers' own request log. It never reads a figure from the agent.
//
// Run it from the module's root. It exits with 0 whatever the figures are; with
// STRICT=1 it exits with 1 if a goal is missed by more than 20 %.
package main
