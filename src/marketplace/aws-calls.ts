/** How a call to AWS can fail that has nothing to do with what was asked: the caller tries again later. */
import { asError } from '../as-error.ts'

/** AWS could not be asked: no answer, throttled, an error of its own, or credentials that it does not take. */
export class AwsUnavailable extends Error {
  override name = 'AwsUnavailable'
}

/** Awaits a call of an SDK client. @throws AwsUnavailable in place of whatever the SDK throws, unless `expected` takes it */
export async function asked<T>(operation: string, call: Promise<T>, expected?: (name: string) => boolean): Promise<T> {
  try {
    return await call
  } catch (cause) {
    const error = asError(cause)
    if (expected?.(error.name)) throw error
    throw new AwsUnavailable(`${operation}: ${error.name}: ${error.message}`, { cause })
  }
}
