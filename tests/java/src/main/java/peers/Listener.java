package peers;

import fr.esrf.TangoApi.CallBack;
import fr.esrf.TangoApi.DeviceProxy;
import fr.esrf.TangoApi.events.EventData;
import fr.esrf.TangoDs.TangoConst;

/** Subscribes to events of one attribute and prints each as it comes, until its input ends: DEVICE ATTRIBUTE. */
public class Listener {
    public static void main(String[] arguments) throws Exception {
        DeviceProxy device = new DeviceProxy(arguments[0]);
        String attribute = arguments[1];
        listen(device, attribute, "change", TangoConst.CHANGE_EVENT);
        listen(device, attribute, "archive", TangoConst.ARCHIVE_EVENT);
        listen(device, attribute, "user", TangoConst.USER_EVENT);
        listen(device, attribute, "data_ready", TangoConst.DATA_READY_EVENT);
        listen(device, attribute, "attr_conf", TangoConst.ATT_CONF_EVENT);
        say("subscribed");
        while (System.in.read() >= 0) {
            continue;
        }
        System.exit(0);
    }

    static void listen(DeviceProxy device, String attribute, String kind, int number) throws Exception {
        device.subscribe_event(attribute, number, new CallBack() {
            @Override
            public void push_event(EventData event) {
                say(kind + " " + describe(event, number));
            }
        }, new String[0], true);
    }

    static String describe(EventData event, int number) {
        try {
            if (event.err) {
                return "error " + event.errors[0].reason;
            }
            if (number == TangoConst.DATA_READY_EVENT) {
                return "counter " + event.data_ready.ctr;
            }
            if (number == TangoConst.ATT_CONF_EVENT) {
                return "label " + event.attr_config.label;
            }
            return "value " + event.attr_value.extractDouble();
        } catch (Exception error) {
            return "failed " + error;
        }
    }

    static synchronized void say(String line) {
        System.out.println(line);
        System.out.flush();
    }
}
