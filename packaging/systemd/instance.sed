# SPDX-License-Identifier: Apache-2.0
# Makes of a service's unit the one of its instances: "stile-turn@lab" has its configuration in the folder /etc/stile/lab.
s|^ExecStart=.*|& -c /etc/stile/%i|
s|^Description=.*|& (%i)|
