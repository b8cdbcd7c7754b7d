/** The projections of this program. Together they make one generation of read models, under one checkpoint. */
import { activity } from './activity.ts'
import { apiKeys } from './api-keys.ts'
import { customers } from './customers.ts'
import { idempotencyKeys } from './idempotency-keys.ts'
import type { Projection } from './projection.ts'
import { snapshots } from './snapshots.ts'
import { usage } from './usage.ts'

export const allProjections: readonly Projection[] = [customers, apiKeys, usage, idempotencyKeys, activity, snapshots]

/** Which streams they fold: a prefix of $all's filter each. */
export const projectedPrefixes: readonly string[] = ['customer-']
