/** The HTTP server: limits, hooks and routes put together, and a close that lets work in flight finish. */
import { randomUUID } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest, LogController } from 'fastify'
import { validatorCompiler, type ZodTypeProvider } from 'fastify-type-provider-zod'
import { createAuthenticate } from './authenticate.ts'
import { createExecute } from './caller.ts'
import { checkLiveness } from './check-liveness.ts'
import { registerConsole } from './console/register.ts'
import type { Dependencies } from './dependencies.ts'
import { ApiError, errorStatus, failure } from './envelope.ts'
import { createErrorAnswers } from './error-answers.ts'
import { createInFlight } from './in-flight.ts'
import { registerLanding } from './landing.tsx'
import { registerMarketplace } from './marketplace.tsx'
import { createHttpMetrics } from './metrics.ts'
import { describeApi } from './openapi.ts'
import { operations } from './operations.ts'
import { maxImageCharacters } from './schemas.ts'
import { usage } from './usage.ts'

export interface HttpServer {
  readonly app: FastifyInstance
  /**
   * New requests get 503 from now on and lose their connection; those in flight finish, for at most `graceMs`; then
   * the server closes. Commands of clients that went away may still run: wait for `Ledgers.drained` too.
   */
  drainAndClose(graceMs?: number): Promise<void>
}

/**
 * The image and the rest of the JSON around it. Clients may escape what JSON need not have escaped: PHP writes / as \/,
 * .NET + as \u002B. The first can double an image of white pixels; what is in the field is held to its own limit.
 */
const bodyLimit = 2 * maxImageCharacters + 64 * 1024

const timeouts = {
  /** From the first byte to the last of a request: 10 MB at 1.4 Mbit/s. */
  requestTimeout: 60_000,
  /** Of a connection on which nothing moves; longer than any check may take. */
  connectionTimeout: 120_000,
  /** Of an idle connection between requests: longer than the 60 s of common load balancers, so that they close first. */
  keepAliveTimeout: 72_000,
  headersTimeout: 15_000,
}

/** What an incoming X-Request-Id may look like to be taken over into logs and event metadata. */
const saneRequestId = /^[\w.:-]{1,128}$/

/** Route → methods, for OPTIONS. There is no CORS: an API key belongs on a server, never into a browser. */
const methods = {
  '/v1/check/liveness': 'OPTIONS, POST',
  '/v1/usage': 'GET, HEAD, OPTIONS',
  '/v1/health': 'GET, HEAD, OPTIONS',
}

export async function buildServer(deps: Dependencies): Promise<HttpServer> {
  let draining = false
  const metrics = createHttpMetrics(deps.metrics, () => deps.inference.queueDepth())
  const execute = createExecute(deps.ledgers, metrics)
  const answerError = createErrorAnswers(deps, execute, date)
  const inFlight = createInFlight()
  const told = new WeakSet<FastifyRequest>()

  /** The clock that bills, or this machine's where that one is out of service and the answer only says so. */
  function date(): string {
    try {
      return deps.clock.now()
    } catch {
      return new Date().toISOString()
    }
  }

  const app = Fastify({
    loggerInstance: deps.logger,
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'requestId' }),
    trustProxy: trusted(deps.trustProxy),
    bodyLimit,
    requestTimeout: timeouts.requestTimeout,
    connectionTimeout: timeouts.connectionTimeout,
    keepAliveTimeout: timeouts.keepAliveTimeout,
    http: { headersTimeout: timeouts.headersTimeout },
    requestIdHeader: false,
    genReqId: requestId,
    frameworkErrors: (error, request, reply) => void answerError(error, request, reply),
    clientErrorHandler: (error, socket) => answerMalformed(error, socket),
  }).withTypeProvider<ZodTypeProvider>()
  app.removeContentTypeParser('text/plain')
  app.setValidatorCompiler(validatorCompiler)
  // The types hold answers to their schemas. Checking again here could only turn a call that is billed into a 500.
  app.setSerializerCompiler(() => (data) => JSON.stringify(data))
  app.decorateRequest('caller', null)
  app.decorateRequest('errorCode', null)
  app.setErrorHandler(answerError)

  // Clients that announce a large body and wait get their go-ahead only when everything before the body is granted.
  app.server.on('checkContinue', (request, response) => app.routing(request, response))
  app.addHook('preParsing', async (request, reply) => {
    if (request.headers.expect?.toLowerCase() === '100-continue') reply.raw.writeContinue()
  })

  app.addHook('onRequest', async (request, reply) => {
    reply
      .header('x-request-id', request.id)
      .header('cache-control', 'no-store')
      .header('x-content-type-options', 'nosniff')
    if (draining) {
      reply.header('connection', 'close')
      if (request.routeOptions.url === '/v1/health') {
        return reply.code(503).send({ status: 'error', message: 'shutting down' })
      }
      throw new ApiError('service_unavailable', 'This instance is shutting down. Try again in a moment.')
    }
    inFlight.add(reply.raw)
    reply.raw.once('close', () => {
      if (reply.raw.writableFinished) return
      // An answer given before the body was read may be followed by the client's own close: it was answered.
      if (reply.raw.headersSent) answered(request, reply, 'answered, and closed by the client')
      else request.log.info(facts(request), 'closed before it was answered')
    })
    // Here and not in a handler: an unknown address is 404 whatever the body looks like.
    if (request.is404) throw new ApiError('not_found', 'There is nothing at this address.')
    return
  })
  app.addHook('onSend', async (_request, reply) => {
    if (draining) reply.header('connection', 'close')
  })
  app.addHook('onResponse', async (request, reply) => answered(request, reply, 'answered'))

  await describeApi(app, deps.version, deps.publicUrl)
  await app.register(operations, { deps })
  await app.register(
    async (v1) => {
      const authenticate = createAuthenticate(deps, execute)
      v1.addHook('onRequest', (request) => metrics.time('authenticate', () => authenticate(request)))
      await v1.register(checkLiveness, { deps, execute, metrics, date })
      await v1.register(usage, { deps, execute, date })
    },
    { prefix: '/v1' },
  )
  if (deps.console !== undefined) {
    registerLanding(app, deps)
    await app.register(registerConsole, { deps: deps.console })
  }
  if (deps.marketplace !== undefined) await app.register(registerMarketplace, { deps: deps.marketplace })
  for (const [url, allow] of Object.entries(methods)) {
    app.options(url, { schema: { hide: true } }, async (_request, reply) =>
      reply.code(204).header('allow', allow).send(),
    )
  }

  /** Logs and counts an answer, once: its end and the client's own close may both tell of it. */
  function answered(request: FastifyRequest, reply: FastifyReply, message: string): void {
    if (told.has(request)) return
    told.add(request)
    const { method, routeOptions, errorCode } = request
    const route = routeOptions.url ?? 'unknown'
    metrics.requests.inc({ method, route, status: String(reply.statusCode), code: errorCode ?? '' })
    metrics.requestSeconds.observe({ method, route }, reply.elapsedTime / 1_000)
    const line = { ...facts(request), status: reply.statusCode, code: errorCode ?? undefined }
    request.log.info({ ...line, durationMs: Math.round(reply.elapsedTime) }, message)
  }

  /** A request that is no HTTP, or took too long to arrive. */
  function answerMalformed(error: Error & { code?: string }, socket: Socket): void {
    const open = inFlight.on(socket)
    // What follows a complete request on its connection must not be answered in that request's place: it may be billed.
    if (error.code === 'ECONNRESET' || !socket.writable || open?.req.complete || open?.headersSent) {
      socket.destroy()
      return
    }
    const slow = error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
    const message = slow ? 'The request took too long to arrive.' : 'The request is not valid HTTP.'
    const stamp = { date: date(), ver: deps.version }
    const body = JSON.stringify(failure(stamp, new ApiError('invalid_request', message), null, null))
    socket.end(
      `HTTP/1.1 ${errorStatus.invalid_request} Bad Request\r\nContent-Type: application/json; charset=utf-8\r\n` +
        `Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
    )
  }

  await app.ready()
  return {
    app,
    async drainAndClose(graceMs = 30_000) {
      draining = true
      await inFlight.settled(graceMs)
      // Connections in the middle of a request head would hold the close up until their timeout.
      const impatient = setTimeout(() => app.server.closeAllConnections(), 1_000)
      await app.close()
      clearTimeout(impatient)
    },
  }
}

/** Fastify takes a number of proxies as a function: hop 0 is the peer itself. */
function trusted(proxies: Dependencies['trustProxy']) {
  return typeof proxies === 'number' ? (_address: string, hop: number) => hop < proxies : proxies
}

function requestId(request: IncomingMessage): string {
  const given = request.headers['x-request-id']
  return typeof given === 'string' && saneRequestId.test(given) ? given : randomUUID()
}

/** What a log line says of a request: the route's pattern, never the address, whose query could hold anything. */
function facts({ method, routeOptions, caller }: FastifyRequest) {
  return { method, route: routeOptions.url ?? 'unknown', customerId: caller?.customerId, keyId: caller?.keyId }
}
