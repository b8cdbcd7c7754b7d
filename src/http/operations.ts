/** What operators and their tools ask: GET /v1/health (in the contract), GET /ready and GET /metrics (beside it). */
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import type { Dependencies } from './dependencies.ts'
import { healthy, readiness, unhealthy } from './schemas.ts'

export type Watched = Pick<Dependencies, 'health' | 'ready' | 'metrics'>
type Options = { readonly deps: Watched }

export const operations: FastifyPluginAsyncZod<Options> = async (app, { deps }) => {
  app.get(
    '/v1/health',
    {
      schema: {
        summary: 'Whether the service can answer',
        description: 'Free, without authentication and without metadata.',
        response: { 200: healthy, 503: unhealthy },
      },
    },
    async (_request, reply) => {
      const message = await deps.health()
      if (message === null) return { status: 'ok' as const }
      return reply.code(503).send({ status: 'error' as const, message })
    },
  )

  app.get(
    '/ready',
    {
      schema: {
        hide: true, // from the customers' reference: a balancer keeps it from the outside
        response: { 200: readiness, 503: readiness },
      },
    },
    async (_request, reply) => {
      const { ready, reasons, roles, modelSet, inferenceQueueDepth, clockOffsetMs, readModelsLagMs, lag } =
        await deps.ready()
      return reply.code(ready ? 200 : 503).send({
        ready,
        reasons: [...reasons],
        roles: [...roles],
        model_set: modelSet,
        clock_offset_ms: clockOffsetMs,
        read_models_lag_ms: readModelsLagMs,
        lag: { ...lag },
        inference_queue_depth: inferenceQueueDepth,
      })
    },
  )

  app.get('/metrics', { schema: { hide: true } }, async (_request, reply) => {
    reply.type(deps.metrics.contentType)
    return deps.metrics.metrics()
  })
}
