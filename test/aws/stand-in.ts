/**
 * An HTTP server that the real AWS SDK clients take for AWS Marketplace (metering, entitlements) and SQS. It plays all
 * regions: a call's region is the one it is signed for. It does not check signatures. State and faults are this
 * object's, so stopping and starting the server again loses nothing.
 */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { z } from 'zod'
import { createFaults, type Fault, type Faults } from './faults.ts'
import {
  type Entitlement,
  getEntitlements,
  getEntitlementsRequest,
  type newToken,
  type RegistrationToken,
  resolveCustomer,
  resolveCustomerRequest,
} from './onboarding.ts'
import type { Refusal } from './poison.ts'
import { changeVisibilityRequest, createQueue, deleteMessageRequest, receiveMessageRequest } from './queue.ts'
import { batchMeterUsage, billedTwice, throttle } from './rules.ts'
import {
  type AwsState,
  type BilledUsage,
  batchMeterUsageRequest,
  emptyAws,
  type NewSubscription,
  type Subscription,
} from './state.ts'

export interface ReceivedCall {
  readonly operation: string
  readonly region: string
  /** The bytes as they came. */
  readonly body: string
  /** By the stand-in's clock, milliseconds since 1970. */
  readonly at: number
  /** What became of it: `answered`, the exception's name, or the fault's kind; `waiting` until then. */
  readonly outcome: string
}

export interface AwsStandIn {
  readonly url: string
  readonly queueUrl: string
  /** What the SDK's clients read from the environment to come here. */
  readonly env: Readonly<Record<string, string>>
  readonly faults: Faults
  readonly calls: readonly ReceivedCall[]
  addProduct(productCode: string, dimensions: readonly string[]): void
  addSubscription(subscription: NewSubscription): Subscription
  /** From `at` (default: now) the last hour runs. */
  endSubscription(id: string, at?: number): void
  suspend(id: string, suspended?: boolean): void
  setLimits(limits: Partial<AwsState['limits']>): void
  disableRegions(regions: readonly string[]): void
  addRegistrationToken(token: z.infer<typeof newToken>): void
  setEntitlements(entitlements: readonly Entitlement[]): void
  /** Puts a message into the queue; `deliveries`: how often it comes at least, though deleted each time. */
  sendMessage(body: string, options?: { readonly deliveries?: number }): string
  /** Bodies of the messages that nobody has deleted. */
  queuedMessages(): string[]
  /** What the buyers are billed. */
  ledger(region?: string): BilledUsage[]
  /** Hours billed more than once, by two names of the customer or in two regions. */
  billedTwice(): BilledUsage[][]
  stop(): Promise<void>
  /** Serves again, at the same address, after `stop`. */
  start(): Promise<void>
}

type Answer = { readonly kind: 'answered'; readonly result: object } | Refusal
interface Request {
  readonly operation: string
  readonly region: string
  readonly body: string
  readonly signal: AbortSignal
  readonly fault: Fault | null
}

export async function startAwsStandIn(options: { readonly now?: () => number } = {}): Promise<AwsStandIn> {
  const now = options.now ?? Date.now
  let state = emptyAws
  let tokens: readonly RegistrationToken[] = []
  let entitlements: readonly Entitlement[] = []
  const calls: (ReceivedCall & { outcome: string })[] = []
  const faults = createFaults()
  const queue = createQueue(now)
  const queuePath = '/000000000000/marketplace'

  const operations: Record<string, (request: Request) => Answer | Promise<Answer>> = {
    BatchMeterUsage({ body, region, fault }) {
      const chosen = fault?.kind === 'unprocessed' ? fault.records : []
      const result = batchMeterUsage(state, batchMeterUsageRequest.parse(JSON.parse(body)), {
        now: now(),
        region,
        bytes: Buffer.byteLength(body),
        unprocessed: (index) => chosen === 'all' || chosen.includes(index),
      })
      state = result.state
      return result.answer
    },
    ResolveCustomer({ body }) {
      const { RegistrationToken } = resolveCustomerRequest.parse(JSON.parse(body))
      const result = resolveCustomer(tokens, state.subscriptions, RegistrationToken, now())
      tokens = result.tokens
      return result.answer
    },
    GetEntitlements({ body, region }) {
      // The entitlement service has an endpoint in us-east-1 only.
      if (region !== 'us-east-1') return exception('UnknownOperationException', `No entitlements in ${region}.`)
      const result = throttle(state, 'GetEntitlements', { now: now(), region }, 20)
      state = result.state
      return result.throttled ?? getEntitlements(entitlements, getEntitlementsRequest.parse(JSON.parse(body)), now())
    },
    async ReceiveMessage({ body, signal }) {
      const request = receiveMessageRequest.parse(JSON.parse(body))
      if (!isOurQueue(request.QueueUrl)) return noSuchQueue
      return { kind: 'answered', result: await queue.receive(request, signal) }
    },
    DeleteMessage({ body }) {
      const request = deleteMessageRequest.parse(JSON.parse(body))
      if (!isOurQueue(request.QueueUrl)) return noSuchQueue
      queue.delete(request.ReceiptHandle)
      return { kind: 'answered', result: {} }
    },
    ChangeMessageVisibility({ body }) {
      const request = changeVisibilityRequest.parse(JSON.parse(body))
      if (!isOurQueue(request.QueueUrl)) return noSuchQueue
      queue.changeVisibility(request.ReceiptHandle, request.VisibilityTimeout)
      return { kind: 'answered', result: {} }
    },
  }
  const isOurQueue = (url: string) => new URL(url).pathname === queuePath

  async function carryOut(request: Request): Promise<Answer> {
    const operation = operations[request.operation]
    if (operation === undefined) return exception('UnknownOperationException', request.operation)
    try {
      return await operation(request)
    } catch (cause) {
      if (cause instanceof z.ZodError || cause instanceof SyntaxError)
        return exception('SerializationException', cause.message)
      throw cause
    }
  }

  async function serve(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const gone = new AbortController()
    response.on('close', () => gone.abort())
    const body = Buffer.concat(await incoming.toArray()).toString()
    const [, operation = ''] = String(incoming.headers['x-amz-target'] ?? '').split('.')
    const region = regionOf(incoming.headers.authorization)
    const call = { operation, region, body, at: now(), outcome: 'waiting' }
    calls.push(call)

    if (region === '') {
      call.outcome = 'MissingAuthenticationTokenException'
      return send(response, exception('MissingAuthenticationTokenException', 'The call is not signed.'))
    }
    const fault = faults.draw(operation, operation === 'BatchMeterUsage' ? recordsIn(body) : 0)
    if (fault?.kind === 'lose_call') {
      call.outcome = fault.kind
      return void incoming.socket.destroy()
    }
    if (fault?.kind === 'exception' && fault.carriedOut !== true) {
      call.outcome = fault.name
      return send(response, exception(fault.name, fault.message ?? ''), fault.status)
    }
    const answer = await carryOut({ operation, region, body, signal: gone.signal, fault })
    call.outcome = fault?.kind ?? (answer.kind === 'answered' ? 'answered' : answer.name)
    switch (fault?.kind) {
      case 'lose_answer':
        return void incoming.socket.destroy()
      case 'hang':
        return
      case 'stall':
        return void response.writeHead(200, { 'content-length': 1000 }).write('{"Results":[')
      case 'exception':
        return send(response, exception(fault.name, fault.message ?? ''), fault.status)
      case 'body':
        return void response.writeHead(fault.status, { 'content-type': 'text/html' }).end(fault.body)
      case 'slow':
        await new Promise((resolve) => setTimeout(resolve, fault.ms))
        return send(response, answer)
      case 'omit':
        return send(response, omit(answer, fault.records))
      default:
        return send(response, answer)
    }
  }

  let server: Server
  async function listen(port: number): Promise<number> {
    server = createServer((incoming, response) => {
      serve(incoming, response).catch((cause: unknown) => incoming.socket.destroy(cause as Error))
    })
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
    const address = server.address()
    if (address === null || typeof address === 'string') throw new Error('The stand-in has no port')
    return address.port
  }
  const port = await listen(0)
  const url = `http://127.0.0.1:${port}`
  const change = (id: string, to: Partial<Subscription>) => {
    if (!state.subscriptions.some((one) => one.id === id)) throw new Error(`There is no subscription ${id}`)
    state = { ...state, subscriptions: state.subscriptions.map((one) => (one.id === id ? { ...one, ...to } : one)) }
  }

  return {
    url,
    queueUrl: `${url}${queuePath}`,
    env: {
      AWS_ENDPOINT_URL_MARKETPLACE_METERING: url,
      AWS_ENDPOINT_URL_MARKETPLACE_ENTITLEMENT_SERVICE: url,
      AWS_ENDPOINT_URL_SQS: url,
      AWS_ACCESS_KEY_ID: 'AKIDOFTHESTANDIN',
      AWS_SECRET_ACCESS_KEY: 'of-the-stand-in',
    },
    faults,
    calls,
    addProduct(productCode, dimensions) {
      state = { ...state, products: new Map(state.products).set(productCode, dimensions) }
    },
    addSubscription(given) {
      const [onlyProduct] = state.products.keys()
      const productCode = given.productCode ?? onlyProduct
      if (productCode === undefined) throw new Error('Add a product first')
      const place = state.subscriptions.length + 1
      const subscription: Subscription = {
        id: given.id ?? `subscription-${place}`,
        productCode,
        awsAccountId: given.awsAccountId,
        licenceArn:
          given.licenceArn === undefined
            ? `arn:aws:license-manager::000000000000:license:l-${place}`
            : given.licenceArn,
        customerIdentifier: given.customerIdentifier ?? null,
        startsAt: given.startsAt ?? 0,
        endedAt: null,
        suspended: false,
      }
      state = { ...state, subscriptions: [...state.subscriptions, subscription] }
      return subscription
    },
    endSubscription: (id, at = now()) => change(id, { endedAt: at }),
    suspend: (id, suspended = true) => change(id, { suspended }),
    setLimits(limits) {
      state = { ...state, limits: { ...state.limits, ...limits } }
    },
    disableRegions(disabledRegions) {
      state = { ...state, disabledRegions }
    },
    addRegistrationToken({ token, subscriptionId, expiresAt = now() + 4 * 3_600_000, usesLeft = 1 }) {
      tokens = [...tokens, { token, subscriptionId, expiresAt, usesLeft }]
    },
    setEntitlements(all) {
      entitlements = all
    },
    sendMessage: queue.send,
    queuedMessages: queue.bodies,
    ledger: (region) => [...state.billed.values()].filter((one) => region === undefined || one.region === region),
    billedTwice: () => billedTwice(state),
    async stop() {
      const closed = new Promise((resolve) => server.close(resolve))
      server.closeAllConnections()
      await closed
    },
    async start() {
      await listen(port)
    },
  }
}

const exception = (name: string, message: string): Refusal => ({ kind: 'exception', name, message })
const noSuchQueue = exception('com.amazonaws.sqs#QueueDoesNotExist', 'The specified queue does not exist.')

/** Authorization: AWS4-HMAC-SHA256 Credential=key/date/region/service/aws4_request, … */
const regionOf = (authorization = ''): string => /Credential=[^/]+\/\d+\/([^/]+)\//.exec(authorization)?.[1] ?? ''

function recordsIn(body: string): number {
  try {
    return batchMeterUsageRequest.parse(JSON.parse(body)).UsageRecords.length
  } catch {
    return 0 // what is wrong with it the operation will say
  }
}

function omit(answer: Answer, places: readonly number[]): Answer {
  if (answer.kind === 'exception') return answer
  const { Results } = z.object({ Results: z.array(z.unknown()) }).parse(answer.result)
  return {
    kind: 'answered',
    result: { ...answer.result, Results: Results.filter((_, place) => !places.includes(place)) },
  }
}

/** AWS JSON 1.1: an error is named in `__type`; its status is 400 unless it is the server's. */
function send(response: ServerResponse, answer: Answer, status?: number): void {
  const own = answer.kind === 'answered' ? 200 : answer.name === 'InternalServiceErrorException' ? 500 : 400
  const body = answer.kind === 'answered' ? answer.result : { __type: answer.name, message: answer.message }
  response
    .writeHead(status ?? own, { 'content-type': 'application/x-amz-json-1.1', 'x-amzn-requestid': 'stand-in' })
    .end(JSON.stringify(body))
}
