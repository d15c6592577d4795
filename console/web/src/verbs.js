// SPDX-License-Identifier: Apache-2.0
// A control verb of a service, through the API.
import { post, serviceAt } from './api.js';

export const tell = (service, verb, args = {}) => post(`${serviceAt(service)}/verbs/${verb}`, args);
