/** `npm run bench [NAME…]`: every bench, or those named; a table with what was measured and what was aimed at. */
import { benchAudit } from './audit.ts'
import { benchBundle } from './bundle.ts'
import { benchCommits } from './commits.ts'
import { benchConsole } from './console.ts'
import { benchEventStore } from './eventstore.ts'
import { benchInference } from './inference.ts'
import { benchMetering } from './metering.ts'
import { benchProjections } from './projections.ts'
import { benchRelay } from './relay.ts'
import { benchSealing } from './sealing.ts'

const benches = {
  inference: benchInference,
  commits: benchCommits,
  eventstore: benchEventStore,
  projections: benchProjections,
  relay: benchRelay,
  metering: benchMetering,
  sealing: benchSealing,
  audit: benchAudit,
  bundle: benchBundle,
  console: benchConsole,
}

const names = Object.keys(benches) as (keyof typeof benches)[]
const wanted = process.argv.slice(2)
const unknown = wanted.filter((name) => !names.some((known) => known === name))
if (unknown.length > 0) {
  console.error(`There is no bench ${unknown.join(', ')}; there are ${names.join(', ')}.`)
  process.exit(1)
}
for (const name of names.filter((known) => wanted.length === 0 || wanted.includes(known))) {
  console.log(`\n${name}`)
  for (const figure of await benches[name]()) {
    console.log(`  ${figure.name}: ${figure.value}${figure.goal === undefined ? '' : `   (goal ${figure.goal})`}`)
  }
}
