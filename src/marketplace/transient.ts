import { passesByItself } from '../commands/transient.ts'
import { AwsUnavailable } from './aws-calls.ts'

/** Whether a failure passes by itself: whatever was meant is done again later, and nothing is done twice by that. */
export const isTransient = (error: unknown): boolean => error instanceof AwsUnavailable || passesByItself(error)
