/** Messages as AWS Marketplace writes them, with the fields of real ones. */
import { randomUUID } from 'node:crypto'

export const productCode = 'product-liveness'
export const accountId = '111122223333'
export const licenceArn = (number: number | string) => `arn:aws:license-manager::294406891311:license:l-${number}`

interface EventOptions {
  readonly agreement: string
  readonly account?: string
  readonly requestId?: string
  readonly time?: string
}

export function agreementEvent(
  type: 'Created' | 'Amended' | 'Ended',
  what: { readonly intent?: string; readonly status?: string },
  { agreement, account = accountId, requestId = randomUUID(), time = '2026-08-20T14:23:22Z' }: EventOptions,
  role: 'Proposer' | 'Manufacturer' = 'Proposer',
): string {
  return event(`Purchase Agreement ${type} - ${role}`, time, {
    requestId,
    catalog: 'AWSMarketplace',
    agreement: { id: agreement, ...what },
    acceptor: { accountId: account },
    proposer: { accountId: '993604559884' },
    resaleAuthorization: { id: null },
  })
}

export function licenceEvent(
  type: 'Updated' | 'Deprovisioned',
  licence: string,
  { agreement, account = accountId, requestId = randomUUID(), time = '2026-08-20T14:24:23Z' }: EventOptions,
): string {
  return event(`License ${type} - Manufacturer`, time, {
    requestId,
    catalog: 'AWSMarketplace',
    agreement: { id: agreement },
    product: { code: productCode, id: 'prod-k35yywhyj4eqg' },
    license: { arn: licence },
    acceptor: { accountId: account },
    proposer: { accountId: '993604559884' },
    offer: { id: 'offer-uovnpk2f6jq7s' },
  })
}

const event = (type: string, time: string, detail: object): string =>
  JSON.stringify({
    version: '0',
    id: randomUUID(),
    'detail-type': type,
    source: 'aws.agreement-marketplace',
    account: '993604559884',
    time,
    region: 'us-east-1',
    resources: [],
    detail,
  })

/** A legacy notification, raw or in the envelope that SNS puts around it. */
export function notification(
  action: string,
  { customer = 'X01EXAMPLEX', product = productCode, sns }: { customer?: string; product?: string; sns?: string } = {},
): string {
  const message = JSON.stringify({
    action,
    'customer-identifier': customer,
    'product-code': product,
    'offer-identifier': 'offer-abcexample123',
    isFreeTrialTermPresent: 'false',
  })
  if (sns === undefined) return message
  return JSON.stringify({
    Type: 'Notification',
    MessageId: randomUUID(),
    TopicArn: 'arn:aws:sns:us-east-1:287250355862:aws-mp-subscription-notification',
    Message: message,
    Timestamp: sns,
    SignatureVersion: '1',
  })
}
