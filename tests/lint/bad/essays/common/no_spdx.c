/*
 * One.
 *
 * Two.
 * Three.
 */
