"""What knows PyTango, and all that changes other people's code.

Everything that we change in somebody else's code stands here, with the place that does it and how it is
undone. "Patches" is :class:`~tango_telemetry.pytango.patching.Patches`: a stack that is undone exactly,
newest first, and leaves alone what somebody else has put over it since.

=================================  =================================  ========================================
what is changed                    by                                 how it is undone
=================================  =================================  ========================================
methods of DeviceProxy and its     client ``_instrumentor``           Patches, at ``uninstrument()``
kin                                (``_targets``)
the function in a green method's   ``patching.Patches.wrap``          Patches: the cell's former content
cell
handlers of device classes         server ``_classes``, at            Patches, at ``uninstrument()``
                                   ``add_TgClass``
handlers added to a device         server ``_dynamic``                they stay, and ask one switch
``_add_attribute``,                server ``_dynamic``                Patches, at ``uninstrument()``
``_add_command``
``push_*_event`` of DeviceImpl     server ``_events``                 Patches, at ``uninstrument()``
bases of DeviceImpl                server ``_instrumentor``, at its   never: the telemetry methods stay
                                   import
state of PyTango's own tracing     ``builtin_tracing``                Patches, with the last instrumentor
PyTango's stub tracer              ``builtin_tracing``                never: ours gives a span, PyTango's None
one reference to a C++ function    ``builtin_tracing``                never: it keeps the process's end whole
green executors,                   ``executors``                      Patches, with the last instrumentor
``__init_subclass__``
gevent's spawn callback            ``executors``                      Patches, with the last instrumentor
cppTango's ``TANGO_TELEMETRY_*``   ``environment``                    with the last instrumentor; by native
                                                                      without touching ``os.environ``
``Thread.start``, ``submit``,      ``tango_telemetry.threads``,       ``uninstrument_threads()``
``EnsureOmniThread``               where asked
SIGTERM, SIGHUP, SIGINT (default   ``pipeline.process.exit``          never; a later handler replaces it
action only)
``os._exit``, ``os.execv[e]``      ``pipeline.process.exit``          never: the last spans would be lost
fork and exit hooks of Python      ``pipeline.process.exit``          Python has no way back
omniORB's interceptors             native ``giop``                    never; without a context they do nothing
libtango's imports (context,       native ``identification``,         switched off, never taken out
getenv)                            ``environment``
=================================  =================================  ========================================
"""
