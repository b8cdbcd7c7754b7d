/** A server for operators alone, where a process has no API, or shows these addresses on a port of their own. */
import Fastify, { type FastifyInstance, LogController } from 'fastify'
import { validatorCompiler, type ZodTypeProvider } from 'fastify-type-provider-zod'
import { operations, type Watched } from './operations.ts'

/** Not listening yet. No request is logged: probes and scrapes come every few seconds. */
export async function buildOperationsServer(watched: Watched): Promise<FastifyInstance> {
  const app = Fastify({
    logger: false,
    logController: new LogController({ disableRequestLogging: true }),
  }).withTypeProvider<ZodTypeProvider>()
  app.setValidatorCompiler(validatorCompiler)
  app.setSerializerCompiler(() => (data) => JSON.stringify(data))
  await app.register(operations, { deps: watched })
  await app.ready()
  return app as unknown as FastifyInstance
}
