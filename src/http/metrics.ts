/** What Prometheus learns of requests and commands. No label names a customer or a key: both are unbounded and private. */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client'

const seconds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

/** The parts of a check, in the order of docs/design.md. */
export type Stage = 'authenticate' | 'replay_lookup' | 'inference' | 'commit'

export interface HttpMetrics {
  readonly requests: Counter<'method' | 'route' | 'status' | 'code'>
  readonly requestSeconds: Histogram<'method' | 'route'>
  readonly commands: Counter<'command' | 'outcome'>
  /** Measures one stage of a check, also when it fails. */
  time<T>(stage: Stage, work: () => Promise<T>): Promise<T>
}

export function createHttpMetrics(registry: Registry, queueDepth: () => number): HttpMetrics {
  const registers = [registry]
  const stages = new Histogram({
    name: 'liveness_check_stage_seconds',
    help: 'Time of one stage of a liveness check. The commit is the append to the event store, waiting included.',
    labelNames: ['stage'],
    buckets: seconds,
    registers,
  })
  const names: readonly Stage[] = ['authenticate', 'replay_lookup', 'inference', 'commit']
  for (const stage of names) stages.zero({ stage })
  new Gauge({
    name: 'liveness_inference_queue_depth',
    help: 'Images that wait for a worker.',
    registers,
    collect() {
      this.set(queueDepth())
    },
  })
  return {
    requests: new Counter({
      name: 'liveness_http_requests_total',
      help: 'Answers by route, HTTP status and error code (none for a success).',
      labelNames: ['method', 'route', 'status', 'code'],
      registers,
    }),
    requestSeconds: new Histogram({
      name: 'liveness_http_request_seconds',
      help: 'Time from the request head to the end of the answer.',
      labelNames: ['method', 'route'],
      buckets: seconds,
      registers,
    }),
    commands: new Counter({
      name: 'liveness_commands_total',
      help: 'Commands given to the ledgers, by how they ended.',
      labelNames: ['command', 'outcome'],
      registers,
    }),
    async time(stage, work) {
      const end = stages.startTimer({ stage })
      try {
        return await work()
      } finally {
        end()
      }
    },
  }
}
