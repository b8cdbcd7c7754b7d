import { Histogram, type Registry } from 'prom-client'
import type { Inference } from '../inference/inference.ts'

const seconds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5]

/** The same inference, with the time of its stages in `registry`. A photograph without a verdict has no stages. */
export function observed(inference: Inference, registry: Registry): Inference {
  const stages = new Histogram({
    name: 'liveness_inference_stage_seconds',
    help: 'Time of one stage of the inference of a photograph that got a verdict: decode, detect, classify.',
    labelNames: ['stage'],
    buckets: seconds,
    registers: [registry],
  })
  for (const stage of ['decode', 'detect', 'classify']) stages.zero({ stage })
  return {
    ...inference,
    async check(bytes, format, signal) {
      const answer = await inference.check(bytes, format, signal)
      for (const [stage, ms] of Object.entries(answer.diagnostics.stages)) stages.observe({ stage }, ms / 1_000)
      return answer
    },
  }
}
