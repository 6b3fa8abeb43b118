package peers;

import org.tango.server.ServerManager;
import org.tango.server.annotation.Attribute;
import org.tango.server.annotation.Command;
import org.tango.server.annotation.Device;
import org.tango.utils.DevFailedUtils;

import fr.esrf.Tango.DevFailed;

/** A device server in Java for clients that send contexts. */
@Device
public class Echo {
    @Attribute
    private double position = 1.5;

    public double getPosition() {
        return position;
    }

    public void setPosition(double position) {
        this.position = position;
    }

    @Command(name = "Twice")
    public double twice(double value) {
        return 2 * value;
    }

    @Command(name = "Fail")
    public void fail() throws DevFailed {
        throw DevFailedUtils.newDevFailed("JavaSaysNo", "not today");
    }

    public static void main(String[] arguments) {
        ServerManager.getInstance().start(arguments, Echo.class);
    }
}
