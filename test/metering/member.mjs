// A member of metering's consumer group in a process of its own, for the tests to kill. It runs what `npm run build`
// made and says, as one JSON object a line, that it has joined, and after each transaction how much it has folded.
const [, , databaseUrl, storeUrl, broker, topic, groupId] = process.argv
const built = (module) => import(new URL(`../../dist/${module}`, import.meta.url).href)

const { connect } = await built('postgres/pool.js')
const { connectEventStore } = await built('eventstore/client.js')
const { consumeBatch } = await built('metering/consume.js')
const { postgresTables } = await built('metering/postgres-tables.js')
const { startKafkaFeed } = await built('metering/kafka-feed.js')

const tables = postgresTables(connect(databaseUrl))
const store = connectEventStore(storeUrl)
const onAlarm = (kind, message) => process.stderr.write(`${kind}: ${message}\n`)
const say = (object) => process.stdout.write(`${JSON.stringify(object)}\n`)
let folded = 0
const feed = startKafkaFeed({
  kafka: { brokers: [broker] },
  topic,
  groupId,
  tables,
  onAlarm,
  sessionTimeoutMs: 6_000,
  async consume(partition, fed) {
    await consumeBatch({ tables, store, graceMs: 600_000, onAlarm }, partition, fed)
    folded += fed.length
    say({ folded })
  },
})
const joined = setInterval(() => {
  if (!feed.lag().active) return
  clearInterval(joined)
  say({ joined: true })
}, 20)

// Whoever started it may end without having killed it.
const parent = process.ppid
setInterval(() => {
  if (process.ppid !== parent) process.exit(1)
}, 500)
