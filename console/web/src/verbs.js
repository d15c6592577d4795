// SPDX-License-Identifier: Apache-2.0
// A control verb of a service, through the API.
import { post } from './api.js';

export const tell = (service, verb, args = {}) => post(`/services/${encodeURIComponent(service)}/verbs/${verb}`, args);
