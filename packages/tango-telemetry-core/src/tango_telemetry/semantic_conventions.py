"""The names of what a span says.

OpenTelemetry's are those of semantic conventions 1.45 (RPC stable); they stand here because the Python
package ``opentelemetry-semantic-conventions`` still has older names. Tango's own start with ``tango.``.
"""

from __future__ import annotations

from typing import Final

RPC_SYSTEM_NAME: Final = "rpc.system.name"
RPC_METHOD: Final = "rpc.method"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
ERROR_TYPE: Final = "error.type"
CODE_FUNCTION_NAME: Final = "code.function.name"
CODE_FILE_PATH: Final = "code.file.path"
CODE_LINE_NUMBER: Final = "code.line.number"
THREAD_ID: Final = "thread.id"
THREAD_NAME: Final = "thread.name"
EXCEPTION_EVENT: Final = "exception"
EXCEPTION_TYPE: Final = "exception.type"
EXCEPTION_MESSAGE: Final = "exception.message"
EXCEPTION_STACKTRACE: Final = "exception.stacktrace"
MESSAGING_SYSTEM: Final = "messaging.system"
MESSAGING_DESTINATION_NAME: Final = "messaging.destination.name"
MESSAGING_OPERATION_NAME: Final = "messaging.operation.name"
MESSAGING_OPERATION_TYPE: Final = "messaging.operation.type"
MESSAGING_BATCH_MESSAGE_COUNT: Final = "messaging.batch.message_count"

SERVICE_NAME: Final = "service.name"
SERVICE_NAMESPACE: Final = "service.namespace"
SERVICE_INSTANCE_ID: Final = "service.instance.id"
HOST_NAME: Final = "host.name"
PROCESS_PID: Final = "process.pid"
PROCESS_PARENT_PID: Final = "process.parent_pid"

TANGO: Final = "tango"
TANGO_HOST: Final = "tango.host"
TANGO_SERVER_NAME: Final = "tango.server.name"
TANGO_DEVICE_NAME: Final = "tango.device.name"
TANGO_DEVICE_CLASS: Final = "tango.device.class"
TANGO_COMMAND_NAME: Final = "tango.command.name"
TANGO_PIPE_NAME: Final = "tango.pipe.name"
TANGO_ATTRIBUTE_NAME: Final = "tango.attribute.name"
TANGO_ATTRIBUTE_NAMES: Final = "tango.attribute.names"
TANGO_PROPERTY_NAMES: Final = "tango.property.names"
TANGO_GROUP_NAME: Final = "tango.group.name"
TANGO_EVENT_TYPE: Final = "tango.event.type"
TANGO_OPERATION: Final = "tango.operation"
TANGO_LINK: Final = "tango.link"
"""What a link leads to: ``producer``, the span that sent an event."""
TANGO_POLLING: Final = "tango.polling"
TANGO_ARGUMENTS: Final = "tango.arguments"
TANGO_CLIENT_IDENT_LOCATION: Final = "tango.client_ident.location"
TANGO_CLIENT_IDENT_PID: Final = "tango.client_ident.pid"
TANGO_CLIENT_IDENT_LANG: Final = "tango.client_ident.lang"
TANGO_CLIENT_IDENT_JAVA_IDENT: Final = "tango.client_ident.java_ident"
TANGO_CLIENT_IDENT_JAVA_MAIN_CLASS: Final = "tango.client_ident.java_main_class"

SPAN_ENDED_BY: Final = "tango.span.ended_by"
"""What ended the process while the span was open: a signal's name, ``exit``, ``os._exit`` or ``os.execv``."""
